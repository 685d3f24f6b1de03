"""The types of config values: each turns outside text into one of our values, or says what is wrong with it."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, ValidationInfo
from pydantic_core import PydanticCustomError

from lotus_client.address import Address
from lotus_client.cid import Cid
from lotus_client.secrets import Secret
from lotus_client.types import ActorId, AttoFil

__all__ = [
    "ActorIdField",
    "AddressField",
    "Amount",
    "Bps",
    "CidField",
    "Count",
    "Flag",
    "PathField",
    "PositiveCount",
    "SecretField",
    "SecretFile",
    "SecretFileField",
    "Section",
    "Text",
    "wrong",
]

_MAX_SECRET_BYTES: Final = 64 << 10


class Section(BaseModel):
    """A part of the config: frozen, and no key but the ones it names."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True
    )


class SecretFile:
    """A file that holds one secret. Only its owner may be able to read it."""

    __slots__ = ("path",)

    def __init__(self, path: Path) -> None:
        self.path = path

    def problem(self) -> str | None:
        """What is wrong with the file and what to do, or None if it can be used."""
        try:
            status = self.path.stat()
        except OSError as error:
            return f"{self.path} cannot be read: {error.strerror}"
        if not stat.S_ISREG(status.st_mode):
            return f"{self.path} is not a file"
        if status.st_mode & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            return (
                f"{self.path} can be read by others (mode {mode:04o}); run: chmod 600 {self.path}"
            )
        if not 0 < status.st_size <= _MAX_SECRET_BYTES:
            return f"{self.path} is empty or too large for a secret ({status.st_size} bytes)"
        if not os.access(self.path, os.R_OK):
            return f"{self.path} cannot be read by this user"
        return None

    def read(self) -> Secret:
        """The secret, without surrounding white space.

        Raises:
            ValueError: `problem()` has something to say.
        """
        if problem := self.problem():
            raise ValueError(problem)
        return Secret(self.path.read_text("utf-8").strip())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretFile) and other.path == self.path

    def __hash__(self) -> int:
        return hash(self.path)

    def __repr__(self) -> str:
        return f"SecretFile({str(self.path)!r})"

    def __str__(self) -> str:
        return str(self.path)


def _address(value: Any) -> Any:
    if isinstance(value, Address):
        return value
    if not isinstance(value, str):
        raise ValueError("must be an address such as f1abc… or 0x…")  # noqa: TRY004 (pydantic)
    return Address.parse(value)


def _actor_id(value: Any) -> Any:
    if isinstance(value, int):
        raise ValueError(f"must be written as an address: f0{value}")  # noqa: TRY004 (pydantic)
    address = _address(value)
    return address.actor_id


def _cid(value: Any) -> Any:
    if isinstance(value, Cid):
        return value
    if not isinstance(value, str):
        raise ValueError("must be a CID")  # noqa: TRY004 (pydantic)
    return Cid.parse(value)


def _amount(value: Any) -> Any:
    if isinstance(value, AttoFil):
        return value
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError("must be an amount of FIL such as 1.5")  # noqa: TRY004 (pydantic)
    amount = AttoFil.from_fil(format(value, "f") if isinstance(value, Decimal) else str(value))
    if amount.value < 0:
        raise ValueError("must not be negative")
    return amount


def _path(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("must be a path")
    context: Mapping[str, Any] = info.context or {}
    path = Path(value).expanduser()
    return path if path.is_absolute() else Path(context.get("base_dir", Path.cwd())) / path


def _secret_file(value: Any, info: ValidationInfo) -> Any:
    return value if isinstance(value, SecretFile) else SecretFile(_path(value, info))


def _secret(value: Any) -> Any:
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str):
        raise ValueError("must be text")  # noqa: TRY004 (pydantic)
    return Secret(value)


Text = Annotated[str, Strict(), Field(min_length=1, max_length=4096)]
Flag = Annotated[bool, Strict()]
Count = Annotated[int, Strict(), Field(ge=0, lt=1 << 63)]
PositiveCount = Annotated[int, Strict(), Field(ge=1, lt=1 << 63)]
Bps = Annotated[int, Strict(), Field(ge=0, le=10_000)]  # basis points: 100 are one percent
Amount = Annotated[AttoFil, BeforeValidator(_amount)]  # written in FIL, exact
AddressField = Annotated[Address, BeforeValidator(_address)]
ActorIdField = Annotated[ActorId, BeforeValidator(_actor_id)]  # written f0…
CidField = Annotated[Cid, BeforeValidator(_cid)]
PathField = Annotated[Path, BeforeValidator(_path)]  # relative to the config file
SecretField = Annotated[Secret, BeforeValidator(_secret)]
SecretFileField = Annotated[SecretFile, BeforeValidator(_secret_file)]


def wrong(key: str, message: str) -> PydanticCustomError:
    """A problem of one key that only the whole section can see."""
    return PydanticCustomError("section", "{message}", {"key": key, "message": message})
