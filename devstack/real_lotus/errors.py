"""RealLotusError: why a devnet of real Lotus cannot be had.

RealLotusError
├── MissingBinaries   some are not on PATH; names them
├── WrongVersion      not a 2k build, too old, or not all of one version
├── BadTemplate       the genesis template does not say what was asked for
├── StepFailed        a command ended badly; .step, .log_tail
└── NotReady          a daemon ended or did not answer in time; .log_tail
"""

from __future__ import annotations

__all__ = [
    "BadTemplate",
    "MissingBinaries",
    "NotReady",
    "RealLotusError",
    "StepFailed",
    "WrongVersion",
]


class RealLotusError(Exception):
    """Base; the message is for the person who typed the command."""


class MissingBinaries(RealLotusError):
    """Programs that are not on PATH."""


class WrongVersion(RealLotusError):
    """Programs that cannot make a devnet, or not together."""


class BadTemplate(RealLotusError):
    """A genesis template without the keys, miner or sector size it should have."""


class StepFailed(RealLotusError):
    """A command of the set-up ended with an error."""

    def __init__(self, step: str, message: str, log_tail: str) -> None:
        super().__init__(f"{step}: {message}\n{log_tail}".rstrip())
        self.step = step
        self.log_tail = log_tail


class NotReady(RealLotusError):
    """A daemon that ended, or did not answer in time."""

    def __init__(self, message: str, log_tail: str) -> None:
        super().__init__(f"{message}\n{log_tail}".rstrip())
        self.log_tail = log_tail
