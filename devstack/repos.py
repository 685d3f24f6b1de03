"""The files that Lotus' tools look for in a repo, and the lock on a devnet's data directory."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from devstack.auth import ALL_PERMISSIONS, TokenIssuer
from devstack.journal import JournalError

__all__ = ["kept_secret", "locked", "write_api"]


@contextlib.contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Hold the data directory for this process.

    Raises:
        JournalError: another devnet has it.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise JournalError(f"{data_dir} is in use by another devnet") from error
        yield


def write_api(repo: Path, multiaddress: str, tokens: TokenIssuer) -> None:
    """Write `api` and `token`, by which tools find and enter a node; the token has all permissions."""
    (repo / "api").write_text(multiaddress)
    file = repo / "token"
    file.touch(0o600)
    file.write_text(tokens.issue(ALL_PERMISSIONS))


def kept_secret(repo: Path) -> bytes:
    """The repo's token secret, made on first use, so that tokens stay valid over restarts."""
    repo.mkdir(parents=True, exist_ok=True)
    file = repo / "jwt-secret"
    if not file.exists():
        file.touch(0o600)
        file.write_bytes(TokenIssuer().secret)
    return file.read_bytes()
