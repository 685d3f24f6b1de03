"""Faults on demand: what real nodes, networks and disks do now and then, done when a test asks for it.

A `Fault` has a kind, a scope (which endpoint, which methods, how often, for how long) and the kind's own parameters.
The `FaultBook` holds those in force. They take effect in three places and nowhere else:

* the seam of the server and the dispatcher (`seam`): connections, delays, statuses, refusals, lies, notifications;
* the head that a node shows (`stale`);
* the files of a storage path (`files`).

Whether a call is struck depends on the fault's own counter and seed only, so a test that makes the same calls meets the
same faults. The control API is never struck: what was switched on can always be cleared.
"""

from __future__ import annotations

from devstack.faults.book import FaultBook
from devstack.faults.kinds import Fault, FaultKind, Scope

__all__ = ["Fault", "FaultBook", "FaultKind", "Scope"]
