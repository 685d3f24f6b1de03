"""Persistent maps in the actors' own block layout: HAMT, AMT, KAMT, bitfields and linked objects.

Design notes
------------
* A map is a value. Setting or deleting gives a new map that shares all nodes off the changed path, so thousands of past
  states cost what changed between them.
* The items in the nodes are the Python values that the chain reads; their blocks are made from the same nodes when a
  CID is asked for. There is no second copy of the state that could disagree.
* A CID is kept with its node, the block's bytes are not: `block` makes them again for the few that somebody reads.
* Everything that is a block of its own is a `Linked`: its `cid`, its `block` and the `links` below it.
  `devstack.chain.blocks` finds a block by CID by walking these links.
* Shapes are canonical: equal contents have equal roots, whatever the history (go-hamt-ipld v3, go-amt-ipld v4).
"""

from devstack.ipld.amt import Amt, AmtKind
from devstack.ipld.bits import Bits
from devstack.ipld.grouped import Grouped, GroupedKind
from devstack.ipld.hamt import Hamt, HamtKind, nested
from devstack.ipld.kamt import Kamt, word
from devstack.ipld.linked import Linked

__all__ = [
    "Amt",
    "AmtKind",
    "Bits",
    "Grouped",
    "GroupedKind",
    "Hamt",
    "HamtKind",
    "Kamt",
    "Linked",
    "nested",
    "word",
]
