"""Chain randomness: from tickets and from the beacon. Source: Lotus `chain/rand/rand.go`, from network version 14 on.

The devnet's beacon is a hash of its seed and of the epoch, one round per epoch, as predictable as Lotus' mock beacon.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final, Protocol

from devstack.chain.election import draw
from devstack.chain.values import ChainLookupError
from lotus_client.chain import BeaconEntry, TipSet, TipSetKey
from lotus_client.types import Epoch

__all__ = [
    "WINNING_POST",
    "beacon_digest",
    "beacon_entries",
    "beacon_entry",
    "draw_from_digest",
    "latest_beacon_entry",
    "ticket_digest",
]

WINNING_POST: Final = 8  # go-state-types crypto/randomness.go WinningPoStChallengeSeed
_SEARCHED_TIPSETS: Final = 20
_ENTRY_BYTES: Final = 96


class _Chain(Protocol):
    """What is needed of the network."""

    def tipset(self, key: TipSetKey | None = None) -> TipSet: ...
    def tipset_by_height(self, height: Epoch, key: TipSetKey | None = None) -> TipSet: ...
    def tipset_after_height(self, height: Epoch, key: TipSetKey | None = None) -> TipSet: ...


def beacon_entry(seed: int, epoch: int) -> BeaconEntry:
    """The beacon's entry of an epoch, past or future."""
    return BeaconEntry(epoch, draw("beacon", seed, epoch, length=_ENTRY_BYTES))


def beacon_entries(seed: int, parent_epoch: int, epoch: int) -> tuple[BeaconEntry, ...]:
    """What a block of `epoch` carries: the entries since its parent, those of null rounds too."""
    return tuple(beacon_entry(seed, at) for at in range(parent_epoch + 1, epoch + 1))


def draw_from_digest(digest: bytes, domain: int, epoch: int, entropy: bytes) -> bytes:
    """32 bytes for one purpose, epoch and entropy out of a ticket's or entry's digest."""
    data = domain.to_bytes(8, "big", signed=True) + digest + epoch.to_bytes(8, "big", signed=True)
    return hashlib.blake2b(data + entropy, digest_size=32).digest()


def ticket_digest(chain: _Chain, epoch: int, key: TipSetKey | None = None) -> bytes:
    """The digest of the newest ticket at or below `epoch`.

    Raises:
        ChainLookupError: the epoch is above the tipset.
    """
    _check_past(chain, epoch, key)
    tipset = chain.tipset_by_height(Epoch(max(epoch, 0)), key)
    return _digest(tipset.blocks[0].ticket or b"")


def beacon_digest(chain: _Chain, epoch: int, key: TipSetKey | None = None) -> bytes:
    """The digest of the beacon entry of `epoch`, as a block at or after it carries it.

    Raises:
        ChainLookupError: the epoch is above the tipset, or no block carries its entry (genesis has none).
    """
    _check_past(chain, epoch, key)
    tipset = chain.tipset_after_height(Epoch(max(epoch, 0)), key)
    for _ in range(_SEARCHED_TIPSETS):
        for entry in tipset.blocks[0].beacon_entries:
            if entry.round == epoch:
                return _digest(entry.data)
        if not tipset.parents:
            break
        tipset = chain.tipset(tipset.parents)
    raise ChainLookupError(f"didn't find beacon for round {epoch} (epoch {epoch})")


def latest_beacon_entry(chain: _Chain, tipset: TipSet) -> BeaconEntry:
    """The newest entry that the tipset or one shortly before it carries.

    Raises:
        ChainLookupError: none of the 20 latest does.
    """
    for candidate in _back(chain, tipset):
        entries = candidate.blocks[0].beacon_entries
        if entries:
            return entries[-1]
        if not candidate.parents:
            raise ChainLookupError("made it back to genesis block without finding beacon entry")
    raise ChainLookupError("found NO beacon entries in the 20 latest tipsets")


def _back(chain: _Chain, tipset: TipSet) -> Iterable[TipSet]:
    for _ in range(_SEARCHED_TIPSETS):
        yield tipset
        tipset = chain.tipset(tipset.parents)


def _check_past(chain: _Chain, epoch: int, key: TipSetKey | None) -> None:
    if epoch > chain.tipset(key).height:
        raise ChainLookupError("cannot draw randomness from the future")


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()
