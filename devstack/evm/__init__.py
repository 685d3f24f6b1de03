"""Running contracts: a small interface, and py-evm behind it.

Design notes
------------
* One call of one contract is one *frame*. What a frame does to the world, calls of other actors and creations included,
  goes through its `Host`, which makes real calls of the chain's machine: so a contract's calls are in the trace, its
  failures roll back with everything else, and balances and nonces are the actors' own.
* Gas is Filecoin gas everywhere outside `pyevm`, and what a contract sees of it too.
* `pyevm` is the only module that imports py-evm. It is imported when the first contract runs: it costs half a second and
  some 15 MB. py-evm comes with the extra `devstack`; without it the mempool takes no message that would run a contract.
"""

from __future__ import annotations

from importlib.util import find_spec

from devstack.evm.interface import CallKind, CallResult, Frame, Host, Outcome

__all__ = ["CallKind", "CallResult", "Frame", "Host", "Outcome", "is_available", "run"]


def is_available() -> bool:
    """Whether py-evm is installed."""
    return find_spec("eth") is not None


def run(frame: Frame, host: Host) -> Outcome:
    """Run a frame to its end; what it did to the host is to be undone by the caller if it failed."""
    from devstack.evm.pyevm import run_frame

    return run_frame(frame, host)
