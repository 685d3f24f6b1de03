"""The flavours by name, with the ports that their software listens on by default."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Flavour", "NotOfThisFlavour"]


class NotOfThisFlavour(ValueError):
    """Something was asked of a devnet that providers of its flavour do not have."""


class Flavour(StrEnum):
    """Which software the provider runs; the values are those of `--flavour`."""

    LOTUS_MINER = "lotus-miner"
    BOOST = "boost"
    CURIO = "curio"

    @property
    def has_miner_api(self) -> bool:
        """Whether there is a lotus-miner with its API."""
        return self is not Flavour.CURIO

    @property
    def repo(self) -> str:
        """The folder of the provider's repo within the data directory."""
        return "miner" if self.has_miner_api else "curio"

    @property
    def default_rpc_port(self) -> int:
        """lotus-miner's port, or Curio's."""
        return 2345 if self.has_miner_api else 12300

    @property
    def default_market_port(self) -> int | None:
        """booster-http's port or Curio's market port; None without such a server."""
        return {Flavour.LOTUS_MINER: None, Flavour.BOOST: 7777, Flavour.CURIO: 12310}[self]
