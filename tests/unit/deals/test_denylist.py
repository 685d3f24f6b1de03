"""Denylists in the compact format: the specification's own examples, and files that are no lists."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deals.blocks import each_of
from deals.denylist import Denied, DenyingBlocks, Denylist, parse_denylist
from lotus_client.cid import RAW, Cid

V1 = Cid.parse("bafybeihvvulpp4evxj7x7armbqcyg6uezzuig6jp3lktpbovlqfkuqeuoq")
DOUBLE = Cid.parse("bafybeidjwik6im54nrpfg7osdvmx7zojl5oaxqel5cmsz46iuelwf5acja")
LEGACY = Cid.parse("bafybeiefwqslmf6zyyrxodaxx4vwqircuxpza5ri45ws3y5a62ypxti42e")

EXAMPLE = """\
version: 1
name: Example IPFSCorp blocking list
hints:
  hint: value
---
# a comment
/ipfs/bafybeihvvulpp4evxj7x7armbqcyg6uezzuig6jp3lktpbovlqfkuqeuoq

/ipfs/Qmah2YDTfrox4watLCr3YgKyBwvjq8FJZEFdWY6WtJ3Xt2/test*
/ipfs/QmTuvSQbEDR3sarFAN9kAeXBpiBCyYYNxdxciazBba11eC/test/*
/ipfs/QmUboz9UsQBDeS6Tug1U8jgoFkgYxyYood9NDyVURAY9pK/blocked*
!/ipfs/QmUboz9UsQBDeS6Tug1U8jgoFkgYxyYood9NDyVURAY9pK/blockednot
!/ipfs/QmUboz9UsQBDeS6Tug1U8jgoFkgYxyYood9NDyVURAY9pK/blocked/not
!/ipfs/QmUboz9UsQBDeS6Tug1U8jgoFkgYxyYood9NDyVURAY9pK/blocked/exceptions*
/ipns/domain.example
//QmX9dhRcQcKUw3Ws8485T5a9dtjrSCQaUAHnG4iK9i4ceM hint=value
//d9d295bde21f422d471a90f2a37ec53049fdf3e5fa3ee2e8f20e10003da429e7
//3f8b9febd851873b3774b937cce126910699ceac56e72e64b866f8e258d09572
"""


@pytest.fixture(scope="module")
def example() -> Denylist:
    return parse_denylist(EXAMPLE.splitlines(), "example")


def denied(denylist: Denylist, cid: Cid | str, path: str = "") -> bool:
    names = tuple(part for part in path.split("/") if part)
    try:
        denylist.check(Cid.parse(cid) if isinstance(cid, str) else cid, names)
    except Denied:
        return True
    return False


def test_the_specifications_example_has_no_problems(example: Denylist):
    assert (example.problems, len(example)) == ([], 10)


@pytest.mark.parametrize(
    ("cid", "path", "expected"),
    [
        (V1, "", True),
        (Cid(V1.as_version_1().raw[:1] + b"\x55" + V1.raw[2:]), "", True),  # another codec
        (V1, "sub", False),
        ("Qmah2YDTfrox4watLCr3YgKyBwvjq8FJZEFdWY6WtJ3Xt2", "", False),
        ("Qmah2YDTfrox4watLCr3YgKyBwvjq8FJZEFdWY6WtJ3Xt2", "testing/deep", True),
        ("Qmah2YDTfrox4watLCr3YgKyBwvjq8FJZEFdWY6WtJ3Xt2", "tes", False),
        ("QmTuvSQbEDR3sarFAN9kAeXBpiBCyYYNxdxciazBba11eC", "test", True),
        ("QmTuvSQbEDR3sarFAN9kAeXBpiBCyYYNxdxciazBba11eC", "test/x", True),
        ("QmUboz9UsQBDeS6Tug1U8jgoFkgYxyYood9NDyVURAY9pK", "blocked", True),
        ("QmUboz9UsQBDeS6Tug1U8jgoFkgYxyYood9NDyVURAY9pK", "blocked/file", True),
        ("QmUboz9UsQBDeS6Tug1U8jgoFkgYxyYood9NDyVURAY9pK", "blockednot", False),
        ("QmUboz9UsQBDeS6Tug1U8jgoFkgYxyYood9NDyVURAY9pK", "blocked/not", False),
        ("QmUboz9UsQBDeS6Tug1U8jgoFkgYxyYood9NDyVURAY9pK", "blocked/exceptions/1", False),
        (DOUBLE, "", True),
        ("QmVTF1yEejXd9iMgoRTFDxBv7HAz9kuZcQNBzHrceuK9HR", "", True),
        (LEGACY, "", True),
        (LEGACY, "path", True),
        (LEGACY, "path2", False),
    ],
)
def test_the_specifications_example_denies_what_it_says(
    example: Denylist, cid: Cid | str, path: str, expected: bool
):
    assert denied(example, cid, path) is expected


def test_a_refusal_names_the_line(example: Denylist):
    with pytest.raises(Denied, match=r"on the denylist example:7: refused"):
        example.check(V1)


def test_the_last_rule_that_fits_decides_whatever_its_form():
    text = f"//d9d295bde21f422d471a90f2a37ec53049fdf3e5fa3ee2e8f20e10003da429e7\n!/ipfs/{LEGACY}\n"
    assert not denied(parse_denylist(text.splitlines(), "x"), LEGACY)
    swapped = reversed(text.splitlines())
    assert denied(parse_denylist(swapped, "x"), LEGACY)


def test_a_later_file_goes_before_an_earlier_one():
    both = parse_denylist([f"/ipfs/{V1}"], "badbits")
    parse_denylist([f"!/ipfs/{V1}"], "own", both)
    assert not denied(both, V1)


def test_everything_below_a_cid_is_denied_with_itself():
    found = parse_denylist([f"/ipfs/{V1}/*"], "x")
    assert [denied(found, V1, path) for path in ("", "a", "a/b")] == [True] * 3


def test_a_path_is_percent_encoded_in_the_list():
    found = parse_denylist([f"/ipfs/{V1}/a%20b/c"], "x")
    assert denied(found, V1, "a b/c")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("hello", "a rule begins with"),
        ("/ipfs/nonsense", "is no CID"),
        ("//gW813G35CnLsy7gRYYHuf63hrz71U1xoLFDVeV7actx6oX", "is no CID"),
        ("//", "is no CID"),
        ("/ipfs/", "is no CID"),
        ("/ipfs/" + "b" * 3_000_000, "longer than 2 MiB"),
    ],
)
def test_a_line_that_is_no_rule_is_a_problem_with_its_place(line: str, words: str):
    found = parse_denylist(["# x", line, f"/ipfs/{V1}"], "list")
    (problem,) = found.problems
    assert (problem.where, words in problem.message) == ("list:2", True)
    assert denied(found, V1)


def test_a_list_of_another_version_is_refused():
    with pytest.raises(ValueError, match="version 2"):
        parse_denylist(["version: 2", "---"], "x")


@given(lines=st.lists(st.text(max_size=60).filter(lambda text: "version" not in text), max_size=20))
def test_junk_is_never_more_than_problems(lines: list[str]):
    with contextlib.suppress(Denied):
        parse_denylist([line for text in lines for line in text.splitlines()], "x").check(V1)


def test_many_problems_take_bounded_memory():
    assert len(parse_denylist(["junk"] * 10_000, "x").problems) == 100


def test_a_denied_block_is_not_even_looked_for(example: Denylist):
    asked: list[Cid] = []

    class Blocks:
        def get(self, cid: Cid) -> bytes:
            asked.append(cid)
            return b"x"

        def get_many(self, cids: Iterable[Cid]) -> Iterator[tuple[Cid, bytes]]:
            return each_of(self, cids)

    blocks = DenyingBlocks(Blocks(), example)
    with pytest.raises(Denied):
        blocks.get(V1)
    other = Cid.of_digest(RAW, 0x12, hashlib.sha256(b"x").digest())
    assert (blocks.get(other), asked) == (b"x", [other])
