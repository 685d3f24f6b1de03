"""Beside a lotus-miner: pieces read by its `/remote`, and unsealed when an operator asks, within the limits."""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from deals.sources import PieceNotHere, PieceUnavailable, Unavailable, make_source
from devstack.stack import Devstack
from devstack.storage import FileType
from fil_plus.pieces import HeldPiece
from lotus_client.cid import Cid
from lotus_client.types import SectorNumber
from sp_plugin.config import load_config
from sp_plugin.config.miner import UnsealConfig
from sp_plugin.errors import ConfigError
from sp_plugin.store.unsealing import UnsealRequest
from sp_plugin.unsealing import refusals
from tests.integration.service.conftest import make_deal, running, write_config
from tests.integration.service.test_commands import ROOT, answer, sp_plugin

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def private(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def configure(net: Devstack, folder: Path, **provider: Any) -> Path:
    """Pieces by the miner's /remote alone; `provider` adds keys."""
    file = private(folder / "miner", net.miner_api_info)
    path = write_config(net, folder)
    body = yaml.safe_load(path.read_text())
    options = {
        "api_info_file": str(file),
        "allow_admin_token": True,
        "sector_size": net.provider.sector_size,
    }
    body["provider"] = {
        "actor": body["provider"]["actor"],
        "sources": [{"kind": "miner", "options": options}],
        "miner": {"api_info_file": str(file), "allow_admin_token": True},
        **provider,
    }
    body["payouts"]["minimum_payout_fil"] = "0.000000001"
    path.write_text(yaml.safe_dump(body))
    return path


def unsealed(net: Devstack) -> Path:
    (sector,) = net.provider.sectors
    return net.provider.storage.file(FileType.UNSEALED, net.provider.miner.actor_id, sector)


async def test_pieces_are_read_by_the_miners_remote_and_nothing_is_deleted_there(
    devnet: Devstack, tmp_path: Path, car: tuple[bytes, Cid]
) -> None:
    number = await make_deal(devnet, car[0])
    await devnet.advance(40)
    config = configure(devnet, tmp_path)
    async with running(config) as sidecar:
        await sidecar.until(
            "/api/v1/sp/pieces",
            lambda found: [item["state"] for item in found["items"]] == ["verified"],
        )
        code, out, err = await sp_plugin(config, "pieces", "locate", f"claim:{number}")
        assert code == 0, err
        assert "offset 0 (by manifest), its bytes were proven" in out
        assert "readable now: http://127.0.0.1:" in out
        copy = tmp_path / "copy"
        read = ("pieces", "read", f"claim:{number}", str(copy), "--offset", "5", "--length", "900")
        assert (await answer(config, *read))["size"] == 900
        assert copy.read_bytes() == car[0][5:905]
        piece = (await sidecar.sidecar.pieces.get(f"claim:{number}")).piece
    assert unsealed(devnet).is_file()
    await each_reason(devnet, tmp_path, piece)


async def each_reason(net: Devstack, folder: Path, piece: HeldPiece) -> None:
    def source(text: str) -> Any:
        file = private(folder / "info", text)
        size = net.provider.sector_size
        options = {"api_info_file": str(file), "allow_admin_token": True, "sector_size": size}
        return make_source("miner", options)

    token, _, address = net.miner_api_info.partition(":")
    cases = [
        (f"{token[:-4]}AAAA:{address}", piece, Unavailable.READ_FAILED, "refuses the token"),
        (f"{token}:/ip4/127.0.0.1/tcp/1/http", piece, Unavailable.READ_FAILED, "ConnectionError"),
        (net.miner_api_info, replace(piece, offset=None), Unavailable.OFFSET_UNKNOWN, "not known"),
    ]
    for text, wanted, reason, words in cases:
        with pytest.raises(PieceUnavailable, match=words) as failure:
            await source(text).open(wanted)
        assert failure.value.reason is reason
    with pytest.raises(PieceNotHere, match="no unsealed file"):
        await source(net.miner_api_info).open(replace(piece, sector=SectorNumber(77)))
    assert await asyncio.to_thread(source(net.miner_api_info).problems) == ()
    file, size = unsealed(net), net.provider.sector_size
    whole = file.read_bytes()
    for content, reason in (
        (whole[:size] + bytes(4), Unavailable.NOT_UNSEALED),
        (whole[:size] + b"\xff\xff\xff\xff", Unavailable.CORRUPT),
        (whole[: size // 2], Unavailable.CORRUPT),
    ):
        file.write_bytes(content)
        with pytest.raises(PieceUnavailable) as failure:
            await source(net.miner_api_info).open(piece)
        assert failure.value.reason is reason
    file.write_bytes(whole)
    with await source(net.miner_api_info).open(piece) as reader:
        assert await asyncio.to_thread(reader.read, 10)
        file.write_bytes(whole[:size])  # another file now
        with pytest.raises(OSError, match="changed"):
            await asyncio.to_thread(reader.read, 1 << 22)


def test_the_admin_token_is_refused_with_the_line_unless_the_config_allows_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "sp-plugin.yaml"
    path.write_text(
        "data_dir: x\nnode: {endpoint: /ip4/127.0.0.1/tcp/1/http, network: n}\nprovider:\n  actor: f01000\n"
        "  sources:\n    - kind: miner\n      options: {api_info_file: miner, sector_size: 2048}\n"
    )
    with pytest.raises(ConfigError, match=r"sp-plugin\.yaml:7: .*allow_admin_token: true"):
        load_config(path, {})


async def test_unsealing_is_off_by_default_and_then_done_by_the_miner(
    devnet: Devstack, tmp_path: Path, car: tuple[bytes, Cid]
) -> None:
    number = await make_deal(devnet, car[0])
    await devnet.advance(40)
    unsealed(devnet).unlink()
    command = ("pieces", "unseal", f"claim:{number}", "--yes")
    async with running(configure(devnet, tmp_path)) as sidecar:
        await sidecar.until("/api/v1/sp/pieces", lambda found: found["items"])
        code, _, err = await sp_plugin(sidecar.config, *command)
        assert (code, "provider.unseal.enabled: true" in err) == (3, True), err
        code, _, err = await sp_plugin(sidecar.config, "pieces", "locate", f"claim:{number}")
        assert code == 1
    huge = {"enabled": True, "keep_free_bytes": 1 << 62}
    async with running(configure(devnet, tmp_path, unseal=huge)) as sidecar:
        await sidecar.until("/api/v1/sp/pieces", lambda found: found["items"])
        code, _, err = await sp_plugin(sidecar.config, *command)
        assert (code, "make room first" in err) == (1, True), err
    away = private(tmp_path / "away", "eyJhbGciOiJIUzI1NiJ9.e30.AAAA:/ip4/127.0.0.1/tcp/1/http")
    lost = {"miner": {"api_info_file": str(away), "allow_admin_token": True}}
    async with running(configure(devnet, tmp_path, unseal={"enabled": True}, **lost)) as sidecar:
        await sidecar.until("/api/v1/sp/pieces", lambda found: found["items"])
        assert (await sp_plugin(sidecar.config, *command))[0] == 4
    devnet.miners[0].unsealing.seconds = 2.0
    allowed = {
        "enabled": True,
        "keep_free_bytes": 0,
        "most_bytes_a_day": devnet.provider.sector_size,
    }
    async with running(configure(devnet, tmp_path, unseal=allowed)) as sidecar:
        sidecar.sidecar.unsealing._look_seconds = 0.2
        await sidecar.until("/api/v1/sp/pieces", lambda found: found["items"])
        assert not unsealed(devnet).exists()
        code, out, err = await sp_plugin(sidecar.config, *command)
        assert code == 0, (out, err)
        assert "waiting for the unsealed copy" in err
        assert "verified" in out
        unsealed(devnet).unlink()
        code, _, err = await sp_plugin(sidecar.config, *command)
        assert (code, "most_bytes_a_day" in err) == (3, True), err


async def test_the_wait_for_a_copy_can_be_stopped_and_survives_a_restart(
    devnet: Devstack, tmp_path: Path, car: tuple[bytes, Cid]
) -> None:
    number = await make_deal(devnet, car[0])
    await devnet.advance(40)
    unsealed(devnet).unlink()
    devnet.miners[0].unsealing.seconds = 4.0
    config = configure(devnet, tmp_path, unseal={"enabled": True, "keep_free_bytes": 0})
    path = f"/api/v1/sp/pieces/claim:{number}/work/unseal"
    async with running(config) as sidecar:
        await sidecar.until("/api/v1/sp/pieces", lambda found: found["items"])
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sp_plugin", "pieces", "unseal", f"claim:{number}", "--yes",
            stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, cwd=tmp_path,
            env={"SP_PLUGIN_CONFIG": str(config), "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        await sidecar.until(path, lambda work: work.get("running"))
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
        assert (process.returncode, b"stopped" in err) == (130, True), err
        work = await sidecar.call("GET", path)
        assert (work["running"], work["error"]) == (False, "stopped")
    async with running(config) as sidecar:  # the miner goes on, and so does the waiting
        sidecar.sidecar.unsealing._look_seconds = 0.2
        ended = await sidecar.until(path, lambda work: work.get("running") is False)
        assert not ended["error"]
        (request,) = await sidecar.sidecar.unsealing._requests.since(0)
        assert request.outcome == "verified"


def test_limits_count_what_is_under_way_and_what_was_asked_within_a_day() -> None:
    day = 86400 * 10**9
    config = UnsealConfig(enabled=True, most_at_once=1, most_bytes_a_day=100)

    def one(asked_at: int, ended_at: int | None) -> UnsealRequest:
        return UnsealRequest(SectorNumber(1), "claim:1", 60, asked_at, ended_at)

    assert refusals(config, (), 60, day) == ()
    assert "most_at_once is 1" in refusals(config, (one(day, None),), 40, day + 1)[0]
    assert "most_bytes_a_day is 100" in refusals(config, (one(day, day + 1),), 41, day + 2)[0]
    assert refusals(config, (one(day, day + 1),), 100, 2 * day + 1) == ()
    assert refusals(config, (one(day, None),), 60, 3 * day) == ()  # given up after the timeout
