"""What can go wrong in the sidecar, divided by what the caller should do, with the exit code it becomes.

SpPluginError                  exit 1: the operation failed; the message says what to do
├── ConfigError                exit 2: `.problems`, every one at once
├── BadInput                   exit 2: an argument, a job file, a CID that cannot be read
├── NotFound                   exit 1: no such job, piece, approval, payout …
├── Conflict                   exit 1: the thing is in a state that does not allow this
├── TooMany                    exit 1: a limit is reached for now; try again later
├── Away                       exit 1: what the answer depends on does not answer now; try again later
├── RefusedByPolicy            exit 3: a rule said no (`.rule`, `.reasons`)
├── NotAllowed                 exit 3: the token lacks a scope
├── NodeUnreachable            exit 4: the Lotus node cannot be reached, or is on another network
├── SidecarUnreachable         exit 4: a command needs the running sidecar and nothing answers there
└── StoreError                 exit 1: the database cannot be used (`StoreTooNew`: made by a newer version)

Errors of lower packages keep their own trees: `lotus_client.errors.LotusUnavailable` and `LotusWrongNetwork` exit 4,
`LotusUnauthorized` exits 2 (fix the token), any other exits 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from lotus_client.errors import (
    LotusUnauthorized,
    LotusUnavailable,
    LotusWrongNetwork,
)

__all__ = [
    "BadInput",
    "ConfigError",
    "Conflict",
    "ExitCode",
    "NodeUnreachable",
    "NotAllowed",
    "NotFound",
    "Problem",
    "RefusedByPolicy",
    "SidecarUnreachable",
    "SpPluginError",
    "StoreError",
    "StoreTooNew",
    "TooMany",
    "exit_code_of",
]


class ExitCode(IntEnum):
    """What a command tells the shell."""

    OK = 0
    FAILED = 1
    BAD_INPUT = 2
    REFUSED = 3
    UNREACHABLE = 4


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in what a person wrote: where it stands, and what is wrong and what to do."""

    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class SpPluginError(Exception):
    """Base of the sidecar's errors; the text is for a person and says what to do."""

    exit_code = ExitCode.FAILED


class ConfigError(SpPluginError):
    """The configuration cannot be used; `problems` lists everything that is wrong with it."""

    exit_code = ExitCode.BAD_INPUT

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class BadInput(SpPluginError):
    """Something given to one operation cannot be used; `field` names it where it has a name."""

    exit_code = ExitCode.BAD_INPUT

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field


class NotFound(SpPluginError):
    """There is no such thing here."""

    def __init__(self, kind: str, name: object) -> None:
        super().__init__(f"{kind} not found: {name}")
        self.kind = kind
        self.name = str(name)


class Conflict(SpPluginError):
    """The thing exists, but its state does not allow what was asked."""


class TooMany(SpPluginError):
    """A queue or a quota is full for now; the message names it."""


class Away(SpPluginError):
    """Something that the answer depends on does not answer now; asking again later may help."""


class RefusedByPolicy(SpPluginError):
    """A rule of this provider forbids it; `rule` names the rule and `reasons` say why."""

    exit_code = ExitCode.REFUSED

    def __init__(self, rule: str, reasons: Iterable[str]) -> None:
        self.rule = rule
        self.reasons = tuple(reasons)
        super().__init__(f"refused by {rule}: " + "; ".join(self.reasons))


class NotAllowed(SpPluginError):
    """The token is valid but lacks the scope."""

    exit_code = ExitCode.REFUSED


class NodeUnreachable(SpPluginError):
    """The Lotus node cannot be reached or is not the one the config names."""

    exit_code = ExitCode.UNREACHABLE


class SidecarUnreachable(SpPluginError):
    """No sidecar answers at the address the command was given."""

    exit_code = ExitCode.UNREACHABLE


class StoreError(SpPluginError):
    """The database cannot be used."""


class StoreTooNew(StoreError):
    """The database was written by a newer version of sp-plugin; using it could destroy data."""


def exit_code_of(error: BaseException) -> ExitCode:
    """The exit code a command ends with when `error` reaches `main`; 1 for what is not in the trees."""
    if isinstance(error, SpPluginError):
        return error.exit_code
    if isinstance(error, LotusUnavailable | LotusWrongNetwork):
        return ExitCode.UNREACHABLE
    if isinstance(error, LotusUnauthorized):
        return ExitCode.BAD_INPUT
    return ExitCode.FAILED
