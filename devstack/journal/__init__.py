"""A devnet's chain on disk: what is needed to have the same chain again, with the same head and state roots.

Two files have one format (`frames`): the journal of a data directory, which grows by a record at every change, and a saved
chain, which is written at once and ends with a checksum of the whole. Both hold the network's make-up, blocks and
messages, not states: restoring executes every tipset again (about a second for two thousand epochs) and checks each
header against the outcome, so a restored chain is exact or refused.

A killed process leaves at most half a record at the journal's end; it is cut off, and the chain goes on from the record
before. A damaged record anywhere else is an error, as is a chain that this version of the devstack executes otherwise.
"""

from __future__ import annotations

from devstack.journal.frames import JournalError
from devstack.journal.keeper import Journal
from devstack.journal.replay import Restored, restore_chain
from devstack.journal.saving import save_chain

__all__ = ["Journal", "JournalError", "Restored", "restore_chain", "save_chain"]
