"""Chains on disk: saved, restored, damaged, torn."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deals.commp import commp
from devstack.chain import AccountSpec, ForkShape, Network, NetworkConfig
from devstack.journal import Journal, JournalError, restore_chain, save_chain
from devstack.journal.frames import MAGIC, frame, read_frames
from devstack.journal.records import config_of, config_record, sector_of, sector_record
from devstack.journal.replay import restore_journal
from devstack.sectors import (
    Sector,
    SectorState,
    StagedPiece,
    commd_of,
    lay_out,
    made_up_replica,
)
from lotus_client.actors.miner import VerifiedAllocationKey
from lotus_client.address import Address
from lotus_client.types import AttoFil, Epoch, SectorNumber

BOB = Address.of_id(103)


def busy(network: Network) -> None:
    """Messages, null rounds, a fork that is adopted, one that is not, waiting and replaced messages."""
    network.send("alice", BOB, value=AttoFil(7))
    network.advance(3)
    network.mine_epoch(null=True)
    network.mine_epoch(null=True)
    network.create_provider("bob", "new-worker", AttoFil(5))
    network.send("alice", BOB, value=AttoFil(8))
    network.advance(4)
    network.reorg(3, ForkShape(null_rounds=1, reinclude=True))
    network.forks.side_chain(2)
    network.advance(2)
    network.mine_epoch(null=True)
    network.send("alice", BOB, value=AttoFil(9))


def assert_same(one: Network, other: Network) -> None:
    assert other.head.key == one.head.key
    assert other.epoch == one.epoch
    assert list(other.store.rounds()) == list(one.store.rounds())
    assert [a for a, _ in other.store.everything()] == [a for a, _ in one.store.everything()]
    assert other.mpool.pending() == one.mpool.pending()
    one.advance(5)
    other.advance(5)
    assert other.head.key == one.head.key  # and it goes on the same way


def test_a_saved_chain_comes_back_with_its_head_forks_nulls_and_mempool(tmp_path: Path) -> None:
    network = Network()
    busy(network)
    bls = network.bls_key("carol")
    size = save_chain(tmp_path / "chain", network, [network.key("alice"), bls], [])
    assert (tmp_path / "chain").stat().st_size == size
    assert [path.name for path in tmp_path.iterdir()] == ["chain"]
    restored = restore_chain(tmp_path / "chain", lambda _: tmp_path / "data")
    wallet = [(key.address, key.secret) for key in restored.wallet]
    assert wallet == [(key.address, key.secret) for key in (network.key("alice"), bls)]
    assert restored.network.bls_key_names == ("carol",)
    assert_same(network, restored.network)


def test_a_journal_written_as_the_chain_grew_gives_the_same_chain(tmp_path: Path) -> None:
    network = Network()
    journal = Journal(tmp_path / "journal", network)
    busy(network)
    journal.close()
    assert_same(network, restore_journal(tmp_path / "journal").network)


def test_a_journal_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    network = Network()
    for _ in range(3):
        journal = Journal(path, network)
        network.send("alice", BOB, value=AttoFil(7))
        network.advance(2)
        journal.close()
        again = restore_journal(path).network
        assert again.head.key == network.head.key
        network = again
    assert network.epoch == 6


@settings(max_examples=25, deadline=None)
@given(st.integers(min_value=0, max_value=4000))
def test_whatever_a_kill_leaves_of_a_journal_is_a_chain_or_nothing(cut: int) -> None:
    folder = _folder()
    path = folder / "journal"
    path.unlink(missing_ok=True)
    network = Network()
    journal = Journal(path, network)
    network.send("alice", BOB, value=AttoFil(7))
    network.advance(4)
    journal.close()
    whole = path.read_bytes()
    path.write_bytes(whole[: max(len(whole) - cut, 0)])
    try:
        restored = restore_journal(path).network
    except JournalError:
        assert len(whole) - cut < 1200  # not even the network's make-up is whole
        return
    assert restored.head.key == network.tipset_by_height(restored.head.height).key
    journal = Journal(path, restored)  # what was torn is cut off, and it goes on
    restored.advance(1)
    journal.close()
    assert restore_journal(path).network.head.key == restored.head.key


@pytest.fixture(scope="module", autouse=True)
def _place(tmp_path_factory: pytest.TempPathFactory) -> None:
    global _FOLDER  # noqa: PLW0603 -- hypothesis and function-scoped fixtures do not mix
    _FOLDER = tmp_path_factory.mktemp("journal")


_FOLDER: Path | None = None


def _folder() -> Path:
    assert _FOLDER is not None
    return _FOLDER


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_changed_byte_of_a_saved_chain_is_found(data: st.DataObject) -> None:
    path = _folder() / "saved"
    network = Network()
    network.advance(2)
    save_chain(path, network, [], [])
    raw = bytearray(path.read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw)
    with pytest.raises(JournalError):
        restore_chain(path, lambda _: _folder() / "data")


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_junk_is_refused_with_a_clear_error(junk: bytes) -> None:
    path = _folder() / "junk"
    for start in (b"", MAGIC, MAGIC + frame(config_record(NetworkConfig()))):
        path.write_bytes(start + junk)
        with pytest.raises(JournalError):
            restore_chain(path, lambda _: _folder() / "data")


def test_a_record_that_claims_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(MAGIC + (1 << 31).to_bytes(4, "big") + bytes(4))
    with pytest.raises(JournalError, match="claims 2147483648 bytes"):
        list(read_frames(path, torn_end=True))


def test_a_chain_that_executes_otherwise_is_refused(tmp_path: Path) -> None:
    network = Network()
    network.advance(2)
    records = [record for record, _ in _saved(tmp_path / "a", network)]
    other = Network(NetworkConfig(seed=1))
    other.advance(2)
    theirs = [record for record, _ in _saved(tmp_path / "b", other)]
    mixed = [*records[:2], *theirs[2:-1]]
    path = tmp_path / "mixed"
    path.write_bytes(MAGIC + b"".join(frame(record) for record in mixed))
    with pytest.raises(JournalError, match=r"block not found|does not fit"):
        restore_journal(path)


def _saved(path: Path, network: Network) -> list[tuple[list[object], int]]:
    save_chain(path, network, [], [])
    return list(read_frames(path, torn_end=False))


def test_a_saved_file_cannot_write_outside_the_storage_path(tmp_path: Path) -> None:
    network = Network()
    records = [record for record, _ in _saved(tmp_path / "a", network)][:-1]
    for name in (
        "../../evil",
        "/etc/passwd",
        "storage/unsealed/../../x",
        "storage/unsealed/s-t01001-0/../../x",
        "storage/../x",
    ):
        path = tmp_path / "evil"
        frames = b"".join(frame(one) for one in [*records, ["file", 0, name, 4]])
        body = MAGIC + frames
        end = frame(["end", len(records) + 1, hashlib.sha256(body).digest()])
        path.write_bytes(body + end)
        with pytest.raises(JournalError, match="no place in a storage path"):
            restore_chain(path, lambda _: tmp_path / "data")


def test_a_network_with_all_options_survives_as_a_record() -> None:
    config = NetworkConfig(
        seed=9,
        nv29_epoch=Epoch(50),
        f3_lag=7,
        accounts=(AccountSpec("rich", AttoFil(10**26)),),
        root_signers=("a", "b"),
        root_threshold=2,
    )
    assert config_of(config_record(config)) == config
    with pytest.raises(JournalError, match="unknown to this version"):
        config_of(["config", '{"flux": 1}'])


@pytest.mark.parametrize(("allocation", "deal"), [(None, None), ((102, 7), None), ((102, 7), 3)])
def test_a_sector_survives_as_a_record(
    allocation: tuple[int, int] | None, deal: int | None
) -> None:
    made = commp(io.BytesIO(b"x" * 1000))
    key = None if allocation is None else VerifiedAllocationKey(*allocation)
    pieces = lay_out([StagedPiece(b"", made, key, deal)], 8 << 20)
    commd = commd_of(pieces, 8 << 20)
    number = SectorNumber(4)
    sector = Sector(
        number, pieces, commd, made_up_replica(1001, number, commd, b"t"), b"t", Epoch(3),
        Epoch(99), SectorState.WAIT_SEED, {"precommit": commd}, "why",
    )  # fmt: skip
    assert sector_of(sector_record(0, sector)) == sector
