"""Denylists in the compact format that IPFS nodes share (`.deny` files, such as badbits): what must not be mounted or published.

Supported are `/ipfs/CID`, `/ipfs/CID/PATH`, both with `*`, and double hashes: base58 multihashes of sha2-256 and the older 64 hex
digits. `!` in front makes an exception, and the last rule that fits decides. Rules about IPNS concern nothing here.
Source: https://specs.ipfs.tech/compact-denylist-format/
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from deals.blocks import BlockStore
from lotus_client.cid import SHA2_256, Cid, CidError, encode_base58

__all__ = ["Denied", "DenyProblem", "DenyingBlocks", "Denylist", "parse_denylist"]

_MAX_HEADER: Final = 1 << 20  # bytes
_MAX_LINE: Final = 2 << 20
_MOST_PROBLEMS: Final = 100
_HEX: Final = re.compile(r"[0-9a-f]{64}", re.IGNORECASE)


class Denied(ValueError):
    """Content that a denylist names; says which content and which rule."""

    def __init__(self, cid: Cid, rule: DenyRule) -> None:
        super().__init__(f"{cid} is on the denylist {rule.where}: refused")
        self.cid = cid
        self.rule = rule


@dataclass(frozen=True, slots=True)
class DenyRule:
    """A rule that fits: where it stands as `list:line`, and whether it denies (or allows, with `!`)."""

    where: str
    denies: bool
    order: int


@dataclass(frozen=True, slots=True)
class DenyProblem:
    """A line that is no rule, or one that is not enforced; says why."""

    where: str
    message: str


@dataclass(slots=True)
class Denylist:
    """The rules of any number of files, later ones after earlier ones. Fill it with `parse_denylist`."""

    problems: list[DenyProblem] = field(default_factory=list)
    _exact: dict[tuple[bytes, str], DenyRule] = field(default_factory=dict)
    _prefix: dict[bytes, list[tuple[str, DenyRule]]] = field(default_factory=dict)
    _double: dict[bytes, DenyRule] = field(default_factory=dict)
    _legacy: dict[bytes, DenyRule] = field(default_factory=dict)
    _count: int = 0

    def __len__(self) -> int:
        """How many rules there are."""
        return self._count

    def check(self, cid: Cid, path: Sequence[str] = ()) -> None:
        """Return if neither the CID nor the path below it is denied.

        Raises:
            Denied: it is.
        """
        if not self._count:
            return
        rule = self._deciding(cid, "/".join(path))
        if rule is not None and rule.denies:
            raise Denied(cid, rule)

    def _deciding(self, cid: Cid, path: str) -> DenyRule | None:
        multihash = cid.multihash
        found = [self._exact.get((multihash, path))]
        found += [
            rule for prefix, rule in self._prefix.get(multihash, ()) if path.startswith(prefix)
        ]
        if self._double:
            text = encode_base58(multihash) + (f"/{path}" if path else "")
            found.append(self._double.get(hashlib.sha256(text.encode()).digest()))
        if self._legacy:
            text = f"{cid.as_version_1()}/{path}"
            found.append(self._legacy.get(hashlib.sha256(text.encode()).digest()))
        return max((rule for rule in found if rule is not None), key=_order, default=None)

    def _add(self, line: str, where: str) -> None:
        """Take in one line, without comments around it."""
        denies = not line.startswith("!")
        rule = DenyRule(where, denies, self._count)
        text = line.removeprefix("!").split(" ", 1)[0]  # hints follow
        if text.startswith("//"):
            self._add_double(text[2:], rule)
        elif text.startswith("/ipfs/"):
            self._add_path(text.removeprefix("/ipfs/"), rule)
        elif text.startswith("/ipns/"):
            return  # names of mutable things: nothing here is read by name
        else:
            raise ValueError("a rule begins with /ipfs/, /ipns/ or //")
        self._count += 1

    def _add_path(self, text: str, rule: DenyRule) -> None:
        name, slash, path = text.partition("/")
        multihash = _multihash_of(name)
        path = unquote(path)
        if path.endswith("*"):
            # `/ab/*` means the same as `/ab*`
            prefix = path[:-1].rstrip("/")
            self._prefix.setdefault(multihash, []).append((prefix, rule))
        else:
            self._exact[multihash, path.rstrip("/") if slash else ""] = rule

    def _add_double(self, text: str, rule: DenyRule) -> None:
        if _HEX.fullmatch(text):
            self._legacy[bytes.fromhex(text)] = rule
            return
        multihash = _multihash_of(text)
        if multihash[:2] != bytes((SHA2_256, 32)):
            raise ValueError("its double hash is not sha2-256, so it is not enforced")
        self._double[multihash[2:]] = rule

    def _problem(self, where: str, message: str) -> None:
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(DenyProblem(where, message))


def _order(rule: DenyRule) -> int:
    return rule.order


def _multihash_of(text: str) -> bytes:
    """The multihash in a CID of any form; a bare base58 multihash is a CID of version 0."""
    try:
        return Cid.parse(text).multihash
    except CidError as error:
        raise ValueError(f"{text[:80]!r} is no CID: {error}") from error


def parse_denylist(lines: Iterable[str], name: str, into: Denylist | None = None) -> Denylist:
    """The rules in a file's lines, added to `into` if given. What is no rule becomes one of its `problems`.

    A header ends at a line `---`; a file without one has rules from its first line on.

    Raises:
        ValueError: the header asks for another version of the format than 1.
    """
    found = into if into is not None else Denylist()
    numbered = list(enumerate(lines, 1))
    start = _behind_header([line for _, line in numbered], name)
    for number, line in numbered[start:]:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        where = f"{name}:{number}"
        if len(line) > _MAX_LINE:
            found._problem(where, "the line is longer than 2 MiB")
            continue
        try:
            found._add(text, where)
        except ValueError as error:
            found._problem(where, str(error))
    return found


def _behind_header(lines: Sequence[str], name: str) -> int:
    """The index of the first line that can be a rule."""
    end = next((index for index, line in enumerate(lines) if line.rstrip() == "---"), None)
    if end is None or sum(map(len, lines[:end])) > _MAX_HEADER:
        return 0
    for line in lines[:end]:
        key, _, value = line.partition(":")
        if key == "version" and value.strip() not in ("1", ""):
            raise ValueError(f"{name}: version {value.strip()[:20]} of denylists is not known")
    return end + 1


class DenyingBlocks:
    """A `BlockStore` that refuses the blocks on a denylist before it looks for them."""

    def __init__(self, blocks: BlockStore, denylist: Denylist) -> None:
        self._blocks = blocks
        self._denylist = denylist

    def get(self, cid: Cid) -> bytes:
        """See `BlockStore.get`.

        Raises:
            Denied: the block is on the denylist.
        """
        self._denylist.check(cid)
        return self._blocks.get(cid)

    def get_many(self, cids: Iterable[Cid]) -> Iterator[tuple[Cid, bytes]]:
        """See `BlockStore.get_many`.

        Raises:
            Denied: a block is on the denylist.
        """
        return self._blocks.get_many(self._checked(cids))

    def _checked(self, cids: Iterable[Cid]) -> Iterator[Cid]:
        for cid in cids:
            self._denylist.check(cid)
            yield cid
