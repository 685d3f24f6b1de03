"""The devnet as files, environment and command lines. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from devstack.real_lotus.errors import BadTemplate
from lotus_client.address import Address, AddressError

__all__ = [
    "GENESIS_MINER",
    "NEVER",
    "SECTOR_SIZE",
    "Layout",
    "Plan",
    "check_template",
    "miner_environment",
    "node_environment",
]

SECTOR_SIZE: Final = 8 << 20
GENESIS_MINER: Final = "t01000"
NEVER: Final = 999_999_999  # an epoch more than a century away at 4 seconds each

_SECTOR_SIZE_NAME: Final = "8MiB"
_PRE_SEALED: Final = 2
_ROOT_KEYS: Final = 2
_ROOT_THRESHOLD: Final = 2


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything lies below the data directory, which may be another path inside a container."""

    root: Path

    @property
    def lotus(self) -> Path:
        """`$LOTUS_PATH`."""
        return self.root / "lotus"

    @property
    def miner(self) -> Path:
        """`$LOTUS_MINER_PATH`."""
        return self.root / "miner"

    @property
    def sectors(self) -> Path:
        """The genesis miner's pre-sealed sectors, its key and its metadata."""
        return self.root / "genesis" / "sectors"

    @property
    def metadata(self) -> Path:
        """What the genesis template needs to know of the pre-sealed sectors."""
        return self.sectors / f"pre-seal-{GENESIS_MINER}.json"

    @property
    def miner_key(self) -> Path:
        """The key of the genesis miner's owner and worker."""
        return self.sectors / f"pre-seal-{GENESIS_MINER}.key"

    @property
    def template(self) -> Path:
        """The genesis template."""
        return self.root / "genesis" / "localnet.json"

    @property
    def genesis(self) -> Path:
        """The genesis block with its state, a CAR."""
        return self.root / "genesis" / "devgen.car"

    @property
    def logs(self) -> Path:
        """One log file for each command."""
        return self.root / "logs"

    def root_key(self, index: int) -> Path:
        """A key of the verified registry's root multisig (f080), `index` 0 or 1."""
        return self.root / "genesis" / f"root-{index}.keyinfo"

    def root_keys(self) -> tuple[Path, ...]:
        """All keys of that multisig."""
        return tuple(self.root_key(index) for index in range(_ROOT_KEYS))


@dataclass(frozen=True, slots=True)
class Plan:
    """The command lines, in the order of Lotus' instructions."""

    layout: Layout

    def fetch_params(self) -> list[str]:
        """Proof parameters for the sector size."""
        return ["lotus", "fetch-params", _SECTOR_SIZE_NAME]

    def root_key(self, index: int) -> list[str]:
        """A new BLS key in a file; prints its address."""
        output = str(self.layout.root_key(index))
        return ["lotus-shed", "keyinfo", "new", f"--output={output}", "bls"]

    def pre_seal(self) -> list[str]:
        """Sectors with power at genesis."""
        return [
            "lotus-seed", f"--sector-dir={self.layout.sectors}", "pre-seal",
            f"--miner-addr={GENESIS_MINER}", f"--sector-size={_SECTOR_SIZE_NAME}",
            f"--num-sectors={_PRE_SEALED}",
        ]  # fmt: skip

    def template(self, signers: tuple[str, ...], network_name: str) -> list[list[str]]:
        """A template, with the root multisig's signers and the genesis miner put into it."""
        file, seed = str(self.layout.template), ["lotus-seed", "genesis"]
        named = [f"--signers={signer}" for signer in signers]
        return [
            [*seed, "new", f"--network-name={network_name}", file],
            [*seed, "set-signers", f"--threshold={_ROOT_THRESHOLD}", *named, file],
            [*seed, "add-miner", file, str(self.layout.metadata)],
        ]

    def first_daemon(self) -> list[str]:
        """The daemon that makes the genesis block."""
        return [
            "lotus", "daemon", f"--lotus-make-genesis={self.layout.genesis}",
            f"--genesis-template={self.layout.template}", "--bootstrap=false",
        ]  # fmt: skip

    def daemon(self) -> list[str]:
        """The daemon of a network that has its genesis block."""
        return ["lotus", "daemon", f"--genesis={self.layout.genesis}", "--bootstrap=false"]

    def import_keys(self) -> list[list[str]]:
        """The genesis miner's key as default, and the root multisig's."""
        bring = ["lotus", "wallet", "import"]
        return [
            [*bring, "--as-default", str(self.layout.miner_key)],
            *([*bring, str(key)] for key in self.layout.root_keys()),
        ]

    def init_miner(self) -> list[str]:
        """The genesis miner's repo."""
        return [
            "lotus-miner", "init", "--genesis-miner", f"--actor={GENESIS_MINER}",
            f"--sector-size={_SECTOR_SIZE_NAME}", f"--pre-sealed-sectors={self.layout.sectors}",
            f"--pre-sealed-metadata={self.layout.metadata}", "--nosync",
        ]  # fmt: skip

    def miner(self) -> list[str]:
        """The miner's daemon."""
        return ["lotus-miner", "run", "--nosync"]


def _common(layout: Layout, nv29_epoch: int | None) -> dict[str, str]:
    # Newer 2k builds call the upgrade to version 29 Solstice, older ones Xx; a build ignores the name it does not know.
    height = str(NEVER if nv29_epoch is None else nv29_epoch)
    return {
        "LOTUS_PATH": str(layout.lotus),
        "LOTUS_MINER_PATH": str(layout.miner),
        "LOTUS_SKIP_GENESIS_CHECK": "_yes_",
        "LOTUS_SOLSTICE_HEIGHT": height,
        "LOTUS_XX_HEIGHT": height,
        "FIL_PROOFS_PARAMETER_CACHE": str(layout.root / "proof-parameters"),
        "FIL_PROOFS_PARENT_CACHE": str(layout.root / "proof-parents"),
    }


def node_environment(
    layout: Layout, port: int, nv29_epoch: int | None, *, host: str = "127.0.0.1"
) -> dict[str, str]:
    """What the full node and every tool beside it is told: paths, ports, upgrade, the indexes that the sidecar needs."""
    return _common(layout, nv29_epoch) | {
        "LOTUS_API_LISTENADDRESS": f"/ip4/{host}/tcp/{port}/http",
        "LOTUS_LIBP2P_LISTENADDRESSES": "/ip4/127.0.0.1/tcp/0",
        "LOTUS_FEVM_ENABLEETHRPC": "true",
        "LOTUS_CHAININDEXER_ENABLEINDEXER": "true",
        "LOTUS_EVENTS_ENABLEACTOREVENTSAPI": "true",
    }


def miner_environment(
    layout: Layout, port: int, nv29_epoch: int | None, *, host: str = "127.0.0.1"
) -> dict[str, str]:
    """What the miner is told: its port, and to seal at once what it is given."""
    return _common(layout, nv29_epoch) | {
        "LOTUS_API_LISTENADDRESS": f"/ip4/{host}/tcp/{port}/http",
        "LOTUS_API_REMOTELISTENADDRESS": f"127.0.0.1:{port}",
        "LOTUS_SEALING_WAITDEALSDELAY": "20s",
        "LOTUS_SEALING_BATCHPRECOMMITS": "false",
        "LOTUS_SEALING_AGGREGATECOMMITS": "false",
    }


def check_template(template: Any, signers: tuple[str, ...]) -> None:
    """Return if the genesis template is the one wanted.

    Raises:
        BadTemplate: says what is wrong with it.
    """
    if not isinstance(template, Mapping):
        raise BadTemplate("the genesis template is not a JSON object")
    root = template.get("VerifregRootKey")
    meta = root.get("Meta") if isinstance(root, Mapping) else None
    if not isinstance(meta, Mapping) or not isinstance(root, Mapping):
        raise BadTemplate("the genesis template has no VerifregRootKey")
    if root.get("Type") != "multisig" or sorted(meta.get("Signers") or ()) != sorted(signers):
        raise BadTemplate(f"the root key is not a multisig of {', '.join(signers)}")
    if meta.get("Threshold") != _ROOT_THRESHOLD:
        raise BadTemplate(f"the root key's threshold is {meta.get('Threshold')}, not 2")
    miners = template.get("Miners")
    if not isinstance(miners, list) or len(miners) != 1 or not isinstance(miners[0], Mapping):
        raise BadTemplate("the genesis template does not have exactly one miner")
    _check_miner(miners[0], template.get("Accounts"))


def _check_miner(miner: Mapping[str, Any], accounts: Any) -> None:
    if miner.get("SectorSize") != SECTOR_SIZE:
        raise BadTemplate(f"the genesis miner's sectors have {miner.get('SectorSize')} bytes")
    if len(miner.get("Sectors") or ()) != _PRE_SEALED:
        raise BadTemplate(f"the genesis miner does not have {_PRE_SEALED} sectors")
    owner = str(miner.get("Owner"))
    try:
        Address.parse(owner)
    except AddressError as error:
        raise BadTemplate(f"the genesis miner's owner is no address: {error}") from error
    funded = {
        str((account.get("Meta") or {}).get("Owner")): account.get("Balance")
        for account in accounts or ()
        if isinstance(account, Mapping)
    }
    if not str(funded.get(owner, "")).isdecimal():
        raise BadTemplate(f"the genesis template gives the miner's owner {owner} no balance")
