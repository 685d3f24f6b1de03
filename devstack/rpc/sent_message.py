"""A message together with what its JSON said that its value does not: whether params were an empty string or null."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from devstack.rpc.methods import Param
from devstack.rpc.params import MESSAGE, decode_object
from lotus_client.messages import Message

__all__ = ["MESSAGE_AS_SENT", "SentMessage"]


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A message as its sender wrote it: Go tells params of no bytes (`""`) from null, and gives back what it got."""

    message: Message
    has_empty_params: bool


def _decode(value: Any) -> SentMessage:
    return SentMessage(MESSAGE.decode(value), decode_object(value).get("Params") == "")


MESSAGE_AS_SENT: Final = Param(MESSAGE.go_type, _decode)
