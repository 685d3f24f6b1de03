"""Everybody in the demo but the sidecar: the network, the data client, the approvers, the provider's owner, the scientist."""

from __future__ import annotations

import base64
import shutil
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import yaml

from deals.commp import PieceCommitment, commp
from deals.unixfs_write import pack_car
from devstack.auth import Permission
from devstack.chain import AccountSpec, NetworkConfig, ProviderSpec
from devstack.datacap import allocate_piece, grant_datacap, settle
from devstack.demo.sidecar import SidecarProcess
from devstack.flavours import Flavour
from devstack.sectors import Sector, SectorState
from devstack.stack import Devstack, DevstackConfig
from lotus_client.actors.methods import MinerMethod
from lotus_client.actors.miner import WithdrawBalanceParams
from lotus_client.address import Address
from lotus_client.cid import Cid
from lotus_client.crypto import Secp256k1Key
from lotus_client.types import AllocationId, AttoFil, Epoch, NetworkVersion

__all__ = ["DataPiece", "World", "WorldError", "examples_dir"]

FIL: Final = 10**18
SOLSTICE: Final = NetworkVersion(29)

# The rest of the network: about 45 times the demo provider's power, so that it wins a block every few hundred epochs
# out of 5 winners in each, as a middling provider would.
_OTHER_SECTORS: Final = 480
_GRANT_BYTES: Final = 1 << 30
_MARK: Final = ".sp-plugin-demo"
_SEALING_EPOCHS: Final = 60


class WorldError(RuntimeError):
    """Something in the network did not happen that the story needs."""


@dataclass(frozen=True, slots=True)
class DataPiece:
    """A packed directory, its commitment and its root."""

    car: Path
    root: Cid
    commitment: PieceCommitment


def examples_dir() -> Path:
    """The repository's `examples/`.

    Raises:
        WorldError: the package is installed without it.
    """
    found = Path(__file__).resolve().parents[2] / "examples"
    if not found.is_dir():
        raise WorldError("the demo needs the repository's examples/ folder: run it in a clone")
    return found


class World:
    """One network with its people. Use as `async with World(home) as world`."""

    def __init__(
        self,
        home: Path,
        network_version: int = 28,
        seed: int = 0,
        flavour: Flavour = Flavour.LOTUS_MINER,
    ) -> None:
        self.home = home
        self.flavour = flavour
        self.network_version = network_version
        self.seed = seed
        self.net: Devstack
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        _make_room(self.home)
        config = DevstackConfig(
            data_dir=self.home / "network",
            flavour=self.flavour,
            network=NetworkConfig(
                seed=self.seed,
                name="localnet",
                network_version=self.network_version,
                genesis_sectors=_OTHER_SECTORS,
                accounts=(
                    AccountSpec("client"),
                    AccountSpec("approver-1", AttoFil(FIL)),
                    AccountSpec("approver-2", AttoFil(FIL)),
                ),
                providers=(ProviderSpec("owner", "worker"),),
            ),
        )
        self.net = await self._stack.enter_async_context(Devstack(config))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    # who is who -------------------------------------------------------------------------------------------------

    def key(self, name: str) -> Secp256k1Key:
        """The key of a person by name; the payee and the payout wallet are not on chain at first."""
        return self.net.network.key(name)

    @property
    def provider(self) -> Address:
        """The storage provider of the story."""
        return self.net.provider.miner

    @property
    def epoch(self) -> Epoch:
        """The head's epoch."""
        return self.net.network.head.height

    def balance(self, address: Address) -> AttoFil:
        """The balance after the head's messages; 0 for an address that is not on chain."""
        return self.net.network.pending_state().balance(address)

    def earns_extra(self) -> bool:
        """Whether verified data earns extra under the rules in force."""
        return self.network_version < SOLSTICE

    # data ---------------------------------------------------------------------------------------------------------

    def pack(self, folder: Path, name: str) -> DataPiece:
        """A directory as a CAR in a piece."""
        car = self.home / f"{name}.car"
        with car.open("wb") as out:
            packed = pack_car(folder, out)
        with car.open("rb") as reader:
            return DataPiece(car, packed.root, commp(reader))

    async def onboard(self, payload: Path, commitment: PieceCommitment) -> Sector:
        """The client allocates DataCap for the piece (until nv28) and the provider seals it; the committed sector.

        Raises:
            WorldError: it was not committed within some sixty epochs.
        """
        net = self.net
        allocation: AllocationId | None = None
        if self.earns_extra():
            client = self.key("client")
            if not net.network.pending_state().datacap(client.address):
                await grant_datacap(net.node, client.address, _GRANT_BYTES)
            allocation = await allocate_piece(
                net.node, client, self.provider, commitment.piece_cid, commitment.padded_size
            )
        sector = await net.provider.add_piece(payload, allocation)
        for _ in range(_SEALING_EPOCHS):
            if sector.state is SectorState.PROVING:
                await net.advance(2)  # so that followers, who stay one tipset behind, see it held
                return sector
            if sector.state.is_failed:
                raise WorldError(f"sector {sector.number} failed: {sector.last_error}")
            await net.advance(1)
        raise WorldError(f"sector {sector.number} is still {sector.state}")

    def is_active(self, sector: Sector) -> bool:
        """Whether the sector's power counts: its first WindowPoSt has been accepted."""
        return sector.number in self.net.network.pending_state().active_sectors(self.provider)

    # money ----------------------------------------------------------------------------------------------------

    async def fund(self, wallet: Address, amount: AttoFil) -> Cid:
        """The owner withdraws from the miner and sends to the payout wallet; the transfer's CID."""
        network = self.net.network
        params = WithdrawBalanceParams(amount).to_cbor()
        cid = network.send("owner", self.provider, MinerMethod.WITHDRAW_BALANCE, params)
        await settle(self.net.node, cid, "withdrawing from the miner")
        cid = network.send("owner", wallet, value=amount)
        await settle(self.net.node, cid, "funding the payout wallet")
        return cid

    # the sidecar ------------------------------------------------------------------------------------------------

    def sidecar(self, program: tuple[str, ...] = (), **changes: Any) -> SidecarProcess:
        """A sidecar configured for this world, not started; `changes` replace top-level sections of its config."""
        home = self.home / "sidecar"
        home.mkdir(exist_ok=True)
        # The token may read and push, not sign: the payout key is in a file of its own.
        token = self.net.token(Permission.READ, Permission.WRITE)
        info = f"{token}:/ip4/127.0.0.1/tcp/{self.net.api_port}/http"
        _private(home / "node", info)
        _private(home / "payout-key", self.key("payout-wallet").secret.hex())
        for name in ("approver-1", "approver-2", "scientist"):
            _private(home / f"{name}.key", self.key(name).secret.hex())
        path = home / "sp-plugin.yaml"
        path.write_text(yaml.safe_dump({**self.sidecar_config(home), **changes}, sort_keys=False))
        return SidecarProcess(path, home / "data", home / "sidecar.log", program)

    def sidecar_config(self, home: Path) -> dict[str, Any]:
        """The sidecar's configuration as YAML will hold it."""
        earnings: dict[str, Any] = {"basis": "verified_extra", "capital_cost_apr_bps": 0}
        if not self.earns_extra():
            earnings = {"basis": "fixed_budget", "fixed_budget_fil": "0.25"}
        return {
            "data_dir": str(home / "data"),
            "node": {"api_info_file": str(home / "node"), "network": "localnet"},
            "provider": {"actor": str(self.provider), **self._where_pieces_are()},
            "http": {"port": 0, "signers": [str(self.key("scientist").address)]},
            "follow": {"start_epoch": 0, "poll_interval_seconds": 1, "max_epochs_per_step": 2880},
            "datasets": [
                {
                    "name": "earth",
                    "licence": "US public domain and CC-BY-4.0",
                    "steward": "Open Earth Data (a made-up steward)",
                    "consent": "public",
                    "selector": self._selector(),
                }
            ],
            "approvals": {
                "k": 2,
                "approvers": [
                    {"name": name, "address": str(self.key(name).address), "roles": [role]}
                    for name, role in (("approver-1", "steward"), ("approver-2", "allocator"))
                ],
            },
            # as the network has it: mainnet's smallest piece is 1 MiB, a local network's 256 bytes
            "jobs": {"docker": {"enabled": True}, "minimum_piece_bytes": 256},
            # nothing is proven on this machine but by the network itself, and others may be busy on it
            "guard": {
                "host_role": "compute",
                "max_load_percent": None,
                "max_io_wait_percent": None,
                "least_memory_bytes": 0,
            },
            "earnings": earnings,
            "payouts": {
                "enabled": True,
                "dry_run": False,
                "wallet": str(self.key("payout-wallet").address),
                "signer": {"key_file": str(home / "payout-key")},
                "minimum_payout_fil": "0.000001",
            },
        }

    def _where_pieces_are(self) -> dict[str, Any]:
        """Storage paths beside a lotus-miner; else the piece server alone, as where the sectors lie on other machines."""
        if self.flavour is Flavour.LOTUS_MINER:
            return {"storage_paths": [str(path.root) for path in self.net.provider.storage.paths]}
        return {"sources": [{"kind": "http", "options": {"url": self.net.market_url}}]}

    def _selector(self) -> dict[str, Any]:
        return {"roots": [str(self.dataset_root)]}

    dataset_root: Cid  # set when the dataset is packed

    def module_url(self, module: Path) -> str:
        """A WASM module as an inline source carries it."""
        return "data:application/wasm;base64," + base64.b64encode(module.read_bytes()).decode()


def _make_room(home: Path) -> None:
    """An empty folder of the demo's own; what an earlier demo left there is of another chain and goes.

    Raises:
        WorldError: the folder holds something that no demo made.
    """
    mark = home / _MARK
    if home.exists() and any(home.iterdir()):
        if not mark.is_file():
            raise WorldError(
                f"{home} is not empty and not a demo's: name another folder with --out"
            )
        shutil.rmtree(home)
    home.mkdir(parents=True, exist_ok=True)
    mark.touch()


def _private(path: Path, text: str) -> None:
    path.touch(0o600)
    path.write_text(text)
