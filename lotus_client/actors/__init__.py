"""Methods of the built-in actors: their numbers, and their params and returns as bytes.

Design notes
------------
* One frozen dataclass per params or return, with `.to_cbor()` and `.from_cbor()`; both directions, because the
  devstack executes what the client sends. Field names are those of builtin-actors.
* Amounts are `AttoFil`; DataCap and power are plain ints of bytes. f07 counts DataCap in units of 10**-18 bytes
  (`DATACAP_PRECISION`).
* A params type never looks at the chain: sizes, terms and ids are judged by the actor.
Source: builtin-actors v18 (network version 28); golden bytes are in the tests.
"""

from __future__ import annotations

from lotus_client.actors.wire import ParamsError

__all__ = ["ParamsError"]
