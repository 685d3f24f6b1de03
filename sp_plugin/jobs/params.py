"""The base of everything read from a job description: keys without regard to case, blanks as absent."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

__all__ = ["Params", "WireModel", "is_blank", "text_of_number", "wrong"]


def is_blank(value: object) -> bool:
    """Whether a Go client meant "not set": it sends `""`, `null`, `false`, `0` and empty containers for unset fields."""
    return value is None or value is False or (value in (0, "", [], {}) and value is not True)


def wrong(message: str) -> PydanticCustomError:
    """The error to raise in a validator; the reader shows its message as it is."""
    return PydanticCustomError("job", "{message}", {"message": message})


def text_of_number(value: Any) -> Any:
    """YAML gives `CPU: 1` as a number; the wire wants text."""
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return str(value)
    return value


class WireModel(BaseModel):
    """A part of a job. Field aliases are the exact names on the wire; input keys match them without case."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", populate_by_name=False, str_max_length=1 << 24
    )

    @model_validator(mode="before")
    @classmethod
    def _match_keys(cls, data: Any, info: ValidationInfo) -> Any:
        if not isinstance(data, dict):
            return data
        names = {
            (field.alias or name).casefold(): field.alias or name
            for name, field in cls.model_fields.items()
        }
        matched: dict[str, Any] = {}
        for key, value in data.items():
            name = names.get(str(key).casefold())
            if name is None:
                _note_unknown(info, cls, str(key))
            elif value is not None and (name not in matched or key == name):
                matched[name] = value
        return matched


class Params(WireModel):
    """The Params of an engine, source or publisher; fields that a Go client left unset are taken as absent."""

    @model_validator(mode="before")
    @classmethod
    def _drop_blanks(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if not is_blank(value)}


def _note_unknown(info: ValidationInfo, model: type[BaseModel], key: str) -> None:
    unknown = (info.context or {}).get("unknown_keys")
    if unknown is not None and len(unknown) < 100:
        unknown.append(f"{model.__name__}: unknown key {key[:80]!r} is ignored")
