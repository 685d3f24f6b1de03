"""Saved chains, and data directories that are used again, also after a kill."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from devstack.chain import NetworkConfig
from devstack.flavours import Flavour
from devstack.journal import JournalError
from devstack.sectors import SectorState
from devstack.stack import Devstack, DevstackConfig
from devstack.storage import FileType
from tests.integration.devstack.test_cli import RUN, Running


async def test_a_restored_devnet_has_the_chain_the_sectors_and_their_files(tmp_path: Path) -> None:
    file = tmp_path / "chain"
    async with Devstack(DevstackConfig()) as net:
        await net.provider.add_piece(b"proven" * 100)
        await net.advance(30)
        await net.provider.add_piece(b"in the making" * 100)
        await net.advance(3)
        net.node.wallet.new()
        head, wallet = net.network.head, net.node.wallet.addresses()
        state = net.network.pending_state().actor(net.provider.miner)
        unsealed = net.provider.storage.file(FileType.UNSEALED, net.provider.miner.actor_id, 0)  # type: ignore[arg-type]
        content, path_id = unsealed.read_bytes(), net.provider.storage.id
        size = await net.save(file)
        assert size < 1 << 19  # 16 MiB of sectors, nearly all of it holes
        await net.advance(30)
        expected = net.network.head
    async with Devstack(DevstackConfig(restore=file)) as net:
        assert net.network.head == head
        assert net.network.pending_state().actor(net.provider.miner) == state
        assert net.node.wallet.addresses() == wallet
        assert net.provider.storage.id == path_id
        restored = net.provider.storage.file(FileType.UNSEALED, net.provider.miner.actor_id, 0)  # type: ignore[arg-type]
        assert restored.read_bytes() == content
        states = [sector.state for sector in net.provider.sectors.values()]
        assert states == [SectorState.PROVING, SectorState.WAIT_SEED]
        await net.advance(30)
        assert net.network.head == expected  # it seals on as if nothing had happened
        assert net.provider.sectors[1].state is SectorState.PROVING  # type: ignore[index]


async def test_a_curio_with_two_storage_paths_is_restored_with_both(tmp_path: Path) -> None:
    file = tmp_path / "chain"
    async with Devstack(DevstackConfig(flavour=Flavour.CURIO, storage_paths=2)) as net:
        for payload in (b"first" * 100, b"second" * 100):
            await net.provider.add_piece(payload)
        await net.advance(20)
        ids = [path.id for path in net.provider.storage.paths]
        sectors = net.provider.storage.sectors()
        await net.save(file)
    config = DevstackConfig(flavour=Flavour.CURIO, storage_paths=2, restore=file)
    async with Devstack(config) as net:
        assert [path.id for path in net.provider.storage.paths] == ids
        assert net.provider.storage.sectors() == sectors
        assert [len(path.sectors()) for path in net.provider.storage.paths] == [1, 1]


async def test_a_kept_data_directory_goes_on_and_another_network_is_refused(tmp_path: Path) -> None:
    config = DevstackConfig(data_dir=tmp_path, keep=True)
    async with Devstack(config) as net:
        await net.provider.add_piece(b"proven" * 100)
        await net.advance(30)
        await net.reorg(depth=2)
        head = net.network.head
    async with Devstack(config) as net:
        assert net.network.head == head
        assert net.provider.sectors[0].state is SectorState.PROVING  # type: ignore[index]
        await net.advance(1)
    other = DevstackConfig(data_dir=tmp_path, keep=True, network=NetworkConfig(seed=5))
    with pytest.raises(JournalError, match="another make-up"):
        async with Devstack(other):
            pass
    with pytest.raises(JournalError, match="has a chain already"):
        async with Devstack(DevstackConfig(data_dir=tmp_path, keep=True, restore=tmp_path / "x")):
            pass


async def test_a_data_directory_is_for_one_devnet_at_a_time(tmp_path: Path) -> None:
    config = DevstackConfig(data_dir=tmp_path, keep=True)
    async with Devstack(config):
        with pytest.raises(JournalError, match="in use by another devnet"):
            async with Devstack(config):
                pass
    async with Devstack(config):
        pass


async def test_files_that_a_killed_devnets_faults_changed_are_put_right(tmp_path: Path) -> None:
    config = DevstackConfig(data_dir=tmp_path, keep=True)
    async with Devstack(config) as net:
        for payload in (b"hidden" * 100, b"spoilt" * 100):
            await net.provider.add_piece(payload)
        folder = net.provider.storage.root / "unsealed"
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        net.faults.add("corrupt-piece", sector=1, offset=10, bytes=5)
        net.faults.add("corrupt-piece", sector=1, offset=12, bytes=9)
        net.faults.add("missing-unsealed", sector=0)
        spoilt = {path: path.read_bytes() for path in folder.iterdir()}
    for path in folder.iterdir():
        path.unlink()
    for path, content in spoilt.items():  # as a kill would have left it
        path.write_bytes(content)
    async with Devstack(config):
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_or_killed_devnet_goes_on_where_it_stopped(
    tmp_path: Path, end: signal.Signals
) -> None:
    first = Running(tmp_path / "data")
    first.ask("advance", "12")
    cid = first.ask("status")["tipset"]
    first.process.send_signal(end)
    first.process.wait(30)
    assert first.process.stdout is not None
    first.process.stdout.close()
    second = Running(tmp_path / "data")
    assert second.ask("status")["tipset"] == cid
    assert second.ask("advance", "1")["height"] == 13
    saved = tmp_path / "saved"
    assert second.ask("save", str(saved))["bytes"] == saved.stat().st_size
    head = second.ask("status")["tipset"]
    second.stop()
    third = Running(tmp_path / "other", "--restore", str(saved))
    assert third.ask("status")["tipset"] == head
    third.stop()
    fresh = Running(tmp_path / "data", "--fresh")
    assert fresh.ask("status")["height"] == 0
    fresh.stop()


def test_junk_to_restore_is_refused_with_one_line(tmp_path: Path) -> None:
    junk = tmp_path / "junk"
    junk.write_bytes(b"not a chain at all")
    done = subprocess.run(
        [*RUN, "up", "--data-dir", str(tmp_path / "d"), "--restore", str(junk), "--api-port", "0"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == f"error: cannot start: {junk} is not a devstack chain of format 1\n"


def test_fault_fork_and_network_commands(tmp_path: Path) -> None:
    running = Running(tmp_path / "data", "--nodes", "2", "--providers", "2", "--f3", "6")
    try:
        assert len(running.info["nodes"]) == len(running.info["miners"]) == 2
        running.ask("advance", "10")
        assert running.ask("status")["finalized_height"] == 4
        assert running.ask("fault", "add", "latency", "ms=1", "--method", "Chain*")["id"] == 1
        assert running.ask("fault", "list")["faults"][0]["params"]["ms"] == 1
        assert running.ask("fault", "clear")["cleared"] == 1
        assert running.try_("fault", "add", "quake").returncode == 2
        tip = running.ask("fork", "--depth", "2")["tipset"]
        assert running.ask("adopt", *tip, "--grow", "30")["reverted"] == 2
        assert running.try_("reorg", "--depth", "20").returncode == 1  # below F3's finality
        assert running.ask("partition", "0", "1")["groups"] == [[0], [1]]
        assert running.ask("heal")["refused"] == []
        assert running.ask("sector", "skip-post", "2")["windows"] == 2
        won = running.ask("advance", "40", "--until-win", "t01000")["height"]
        assert won >= 13
        nobody = running.try_("advance", "3", "--until-win", "provider")
        assert (nobody.returncode, "did not happen" in nobody.stderr) == (1, True)
    finally:
        running.stop()
