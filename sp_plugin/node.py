"""The connection to the Lotus node, made only if it is the node the config means."""

from __future__ import annotations

from fil_plus.regimes import SOLSTICE
from lotus_client.api_info import ApiInfo, ApiInfoError
from lotus_client.cid import Cid
from lotus_client.client import LotusClient
from lotus_client.errors import LotusDecodeError, LotusWrongNetwork
from lotus_client.node import NetworkParams, NodeCapabilities, check_network
from lotus_client.types import Epoch, NetworkVersion
from sp_plugin.config import NodeConfig
from sp_plugin.errors import ConfigError, Problem

__all__ = ["SameChain", "api_info_of", "check_node", "connect_node", "solstice_epoch"]


def api_info_of(config: NodeConfig) -> ApiInfo:
    """Where the node is and with which token.

    Raises:
        ConfigError: the string or file cannot be used.
    """
    key = next(
        key for key in ("api_info_file", "api_info", "endpoint") if getattr(config, key) is not None
    )
    try:
        if config.api_info_file is not None:
            return ApiInfo.parse(config.api_info_file.read().reveal())
        if config.api_info is not None:
            return ApiInfo.parse(config.api_info.reveal())
        assert config.endpoint is not None
        info = ApiInfo.parse(config.endpoint)
        return ApiInfo(info.address, config.token_file.read() if config.token_file else info.token)
    except (ApiInfoError, ValueError) as error:
        raise ConfigError([Problem(f"node.{key}", str(error))]) from error


def connect_node(config: NodeConfig) -> LotusClient:
    """A client of the node; nothing is sent yet."""
    return LotusClient.connect(
        api_info_of(config), timeout_seconds=float(config.request_timeout_seconds)
    )


def check_node(config: NodeConfig, found: NodeCapabilities) -> None:
    """Return if the node may be used.

    Raises:
        LotusWrongNetwork: it serves another network than the config names.
        ConfigError: its token is an admin token, and the config does not say that this is meant.
    """
    check_network(found, network_name=config.network, genesis=config.genesis)
    if "admin" in found.permissions and not config.allow_admin_token:
        raise ConfigError(
            [
                Problem(
                    "node",
                    "the token has the permission admin: whoever holds it can take every key of the node. "
                    "Make one with `lotus auth create-token --perm write` (or `read`, if you do not pay), "
                    "or set node.allow_admin_token: true",
                )
            ]
        )


# What Lotus calls the height of nv29 in `ForkUpgradeParams`; `Xx` is its stand-in while an upgrade has no name.
_SOLSTICE_FIELDS = ("UpgradeSolsticeHeight", "UpgradeXxHeight")


def solstice_epoch(version: NetworkVersion, params: NetworkParams) -> Epoch | None:
    """The epoch of the nv29 upgrade, past or planned; None if the node knows of none.

    Raises:
        LotusDecodeError: the network is past nv28 and the node does not say since when.
    """
    for name in _SOLSTICE_FIELDS:
        if name in params.upgrades:
            return params.upgrades[name]
    if version >= SOLSTICE:
        raise LotusDecodeError(
            "StateGetNetworkParams.ForkUpgradeParams", "does not say when network version 29 began"
        )
    return None


class SameChain:
    """That the node still serves the chain it served at the start: nodes are restored, replaced and pointed elsewhere."""

    def __init__(self, node: LotusClient, genesis: Cid) -> None:
        self._node = node
        self._genesis = genesis

    async def check(self) -> None:
        """Return if it does; asked before everything that books, signs or pushes.

        Raises:
            LotusWrongNetwork: its genesis is another.
            LotusUnavailable: it does not answer.
        """
        found = (await self._node.genesis()).key.cids[0]
        if found != self._genesis:
            raise LotusWrongNetwork(
                f"the node now serves another chain: its genesis is {found}, at the start it was {self._genesis}. "
                "Nothing is followed, booked or paid until the node of the first chain is back; for the other chain, "
                "use another data_dir"
            )
