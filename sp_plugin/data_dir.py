"""The directory that belongs to one sidecar, with a lock so that two never share it."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lotus_client.cid import Cid
from lotus_client.crypto import Secp256k1Key
from lotus_client.secrets import Secret
from sp_plugin.errors import Conflict, SpPluginError

__all__ = ["DataDir", "locked_data_dir"]


@dataclass(frozen=True, slots=True)
class DataDir:
    """Paths below `data_dir`."""

    path: Path

    @property
    def results(self) -> Path:
        """Kept results, by execution."""
        return self.path / "results"

    @property
    def runs(self) -> Path:
        """Working directories of runs; emptied at every start."""
        return self.path / "runs"

    @property
    def resolving(self) -> Path:
        """Scratch space while a job is resolved into its bundle; emptied at every start."""
        return self.path / "resolving"

    @property
    def staging(self) -> Path:
        """Pieces made of results, ready for a deal."""
        return self.path / "staging"

    @property
    def cars(self) -> Path:
        """CARs of results by root CID."""
        return self.path / "cars"

    @property
    def volumes(self) -> Path:
        """UnixFS content written out from pieces, by CID; may be deleted at any time."""
        return self.path / "cache" / "volumes"

    @property
    def piece_roots(self) -> Path:
        """Subtree roots of verified pieces, by piece CID; may be deleted at any time."""
        return self.path / "cache" / "roots"

    @property
    def compiled(self) -> Path:
        """Compiled programs; may be deleted at any time."""
        return self.path / "cache" / "compiled"

    @property
    def api_token(self) -> Path:
        """The token by which commands on this machine reach the sidecar."""
        return self.path / "api-token"

    @property
    def api_url(self) -> Path:
        """Where the running sidecar listens; absent while it does not."""
        return self.path / "api-url"

    def identity(self) -> str:
        """A random name of this directory, made at first use and kept: it marks what is this sidecar's elsewhere."""
        return self._kept("identity", secrets.token_hex(8))

    def link_key(self) -> bytes:
        """The key by which download links are signed, made at first use and kept."""
        return bytes.fromhex(self._kept("link.key", secrets.token_hex(32)))

    def record_key(self) -> Secp256k1Key:
        """The key that signs run records, made at first use and kept. It holds no money.

        Raises:
            SpPluginError: its file is damaged.
        """
        try:
            return Secp256k1Key(bytes.fromhex(self._kept("record.key", secrets.token_hex(32))))
        except ValueError as error:
            message = f"{self.path / 'record.key'} is not a key: {error}; restore it, or remove it to sign by a new one"
            raise SpPluginError(message) from error

    def first_genesis(self, genesis: Cid) -> Cid:
        """The genesis of the chain that this directory was first used for; `genesis` if it is new."""
        return Cid.parse(self._kept("genesis", str(genesis)))

    def _kept(self, name: str, first: str) -> str:
        """What is in a file, which begins as `first`."""
        path = self.path / name
        if not path.exists():
            self.write_private(path, first)
        return path.read_text().strip()

    def write_private(self, path: Path, text: str) -> None:
        """Put `text` into a file that only this user can read, whole or not at all."""
        partial = path.with_name(path.name + ".partial")
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        partial.rename(path)

    def local_token(self) -> Secret | None:
        """The token in `api_token`, None if there is none."""
        try:
            return Secret(self.api_token.read_text().strip())
        except FileNotFoundError:
            return None


@contextmanager
def locked_data_dir(path: Path) -> Iterator[DataDir]:
    """The directory, made if need be, for as long as nobody else uses it.

    Raises:
        Conflict: another sidecar runs on it.
        SpPluginError: it cannot be made or written.
    """
    directory = DataDir(path)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for part in (
            directory.results,
            directory.runs,
            directory.staging,
            directory.cars,
            directory.volumes,
            directory.compiled,
        ):
            part.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise SpPluginError(f"data_dir cannot be used: {error}") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(
                f"another sidecar runs on {path}; each needs its own data_dir"
            ) from error
        yield directory
    finally:
        os.close(handle)
