"""Downloads are pinned by content: a job gets the bytes that were approved or none, and the disk keeps its reserve."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from deals.denylist import Denylist, parse_denylist
from deals.volumes import VolumeLimits, clean_cache, remove_volume
from sp_plugin.errors import RefusedByPolicy
from sp_plugin.fetching.client import FetchFailed
from sp_plugin.fetching.downloads import Downloads, cid_of_sha256
from sp_plugin.fetching.places import HostPattern
from sp_plugin.inputs.base import InputAway, InputContext, InputMissing
from sp_plugin.inputs.url_download import UrlDownloadParams, UrlDownloadSource, file_name_of
from tests.integration.fetching.web import Handler, Net, endless, sends, serving

DATA = b"day,mm\n1,2\n"
SHA = hashlib.sha256(DATA).hexdigest()
SOURCE = UrlDownloadSource()


def downloads(net: Net, cache: Path, *, rules: dict[str, Any] | None = None, **options: Any):
    return Downloads(net.fetcher(**(rules or {})), cache, pauses=(0.01, 0.01), **options)


def params(url: str, **more: str) -> UrlDownloadParams:
    return UrlDownloadParams.model_validate({"URL": url, **more})


async def test_what_is_approved_is_the_digest_seen_and_the_url(tmp_path: Path):
    net = Net()
    async with serving(net, d=sends(DATA)) as url:
        context = InputContext(downloads=downloads(net, tmp_path / "cache"))
        identity = await SOURCE.identify(params(f"{url}/d/rain.csv"), context)
    assert (identity.kind, identity.cid) == ("urldownload", cid_of_sha256(bytes.fromhex(SHA)))
    assert identity.path == f"{url}/d/rain.csv"


async def test_with_a_digest_in_the_job_nothing_is_fetched_before_the_run(tmp_path: Path):
    net = Net()
    async with serving(net, d=sends(DATA)) as url:
        context = InputContext(downloads=downloads(net, tmp_path / "cache"))
        wanted = params(f"{url}/d/rain.csv", SHA256=SHA.upper())
        assert (await SOURCE.identify(wanted, context)).cid.digest.hex() == SHA
        assert net.asked == []
        volume = await SOURCE.materialise(wanted, context, tmp_path / "into1")
    assert (volume.host_path / "rain.csv").read_bytes() == DATA
    assert (volume.payload_bytes, volume.piece_key, volume.blocks_read) == (len(DATA), None, ())
    assert volume.fetched_from == f"{url}/d/rain.csv"


async def test_bytes_that_changed_at_the_url_are_refused_by_a_run(tmp_path: Path):
    net, answers = Net(), [DATA, b"other", b"other"]

    async def handler(_request: web.Request) -> web.Response:
        return web.Response(body=answers.pop(0))

    async with serving(net, d=handler) as url:
        identity = await SOURCE.identify(
            params(f"{url}/d"), InputContext(downloads=downloads(net, tmp_path / "one"))
        )
        pinned = {f"{url}/d": identity.cid}
        # another cache, as after the files were removed
        fresh = InputContext(downloads=downloads(net, tmp_path / "two"), pinned=pinned)
        with pytest.raises(InputMissing, match=f"not {SHA} as the job says"):
            await SOURCE.materialise(params(f"{url}/d"), fresh, tmp_path / "into2")
        assert list((tmp_path / "two").iterdir()) == []


async def test_approved_bytes_that_are_here_are_not_fetched_again(tmp_path: Path):
    net = Net()
    async with serving(net, d=sends(DATA)) as url:
        source = downloads(net, tmp_path / "cache")
        identity = await SOURCE.identify(params(f"{url}/d"), InputContext(downloads=source))
        asked = len(net.asked)
        context = InputContext(downloads=source, pinned={f"{url}/d": identity.cid})
        assert (await SOURCE.identify(params(f"{url}/d"), context)).cid == identity.cid
        volume = await SOURCE.materialise(params(f"{url}/d"), context, tmp_path / "into3")
    assert len(net.asked) == asked
    assert volume.fetched_from is None
    assert (volume.host_path / "d").stat().st_mode & 0o777 == 0o444


async def test_a_server_that_is_busy_is_asked_again(tmp_path: Path):
    net, answers = Net(), [503, 429, 200]

    async def handler(_request: web.Request) -> web.Response:
        return web.Response(status=answers.pop(0), body=DATA)

    async with serving(net, d=handler) as url:
        cid = cid_of_sha256(bytes.fromhex(SHA))
        found = await downloads(net, tmp_path).get(f"{url}/d", cid)
    assert found.path.read_bytes() == DATA


async def test_a_server_that_stays_away_is_another_thing_than_an_input_that_is_not_there(
    tmp_path: Path,
):
    async def handler(_request: web.Request) -> web.Response:
        return web.Response(status=503)

    net = Net()
    async with serving(net, d=handler) as url:
        context = InputContext(downloads=downloads(net, tmp_path))
        with pytest.raises(InputAway, match="HTTP 503"):
            await SOURCE.materialise(params(f"{url}/d", SHA256=SHA), context, tmp_path / "into4")
        with pytest.raises(InputMissing, match="HTTP 404"):
            await SOURCE.materialise(params(f"{url}/none", SHA256=SHA), context, tmp_path / "into5")


async def test_all_tries_together_take_no_longer_than_one_may(tmp_path: Path):
    async def handler(_request: web.Request) -> web.Response:
        return web.Response(status=503)

    net = Net()
    async with serving(net, d=handler) as url:
        slow = Downloads(net.fetcher(timeout_seconds=0.3), tmp_path, pauses=(60.0,))
        with pytest.raises(InputAway, match=r"more than 0\.3 seconds"):
            await SOURCE.identify(params(f"{url}/d"), InputContext(downloads=slow))


async def test_a_connection_that_breaks_leaves_nothing_behind(tmp_path: Path):
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.abort()
        return response

    net = Net()
    async with serving(net, d=handler) as url:
        context = InputContext(downloads=downloads(net, tmp_path / "cache"))
        with pytest.raises(InputAway, match="/d: "):
            await SOURCE.identify(params(f"{url}/d"), context)
    assert list((tmp_path / "cache").iterdir()) == []


async def test_the_disk_is_looked_at_before_and_while_a_file_grows(tmp_path: Path):
    net, rooms = Net(), [1 << 40, 0]
    async with serving(net, d=sends(DATA), big=endless(bytes(1 << 20))) as url:
        full = downloads(net, tmp_path / "cache", make_room=lambda: VolumeLimits(max_bytes=3))
        with pytest.raises(InputMissing, match="more than the 3 bytes"):
            await SOURCE.identify(params(f"{url}/d"), InputContext(downloads=full))
        filling = downloads(
            net,
            tmp_path / "cache",
            make_room=lambda: VolumeLimits(max_bytes=rooms.pop(0)),
            rules={"max_bytes": 1 << 40},
        )
        with pytest.raises(InputMissing, match=r"jobs\.keep_free_bytes"):
            await SOURCE.identify(params(f"{url}/big"), InputContext(downloads=filling))
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_a_killed_process_left_half_is_removed_at_the_start(tmp_path: Path):
    left = tmp_path / ".making-abc"
    left.mkdir()
    (left / "file").write_bytes(b"half")
    clean_cache(tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_bytes_on_a_denylist_are_neither_kept_nor_given_out(tmp_path: Path):
    cid, cache, rules = cid_of_sha256(bytes.fromhex(SHA)), tmp_path / "cache", Denylist()
    net = Net()
    async with serving(net, d=sends(DATA)) as url:
        context = InputContext(downloads=downloads(net, cache, denylist=lambda: rules))
        wanted = params(f"{url}/d", SHA256=SHA)
        (tmp_path / "before").mkdir()
        await SOURCE.materialise(wanted, context, tmp_path / "into6")
        parse_denylist([f"/ipfs/{cid}"], "bad.deny", rules)
        with pytest.raises(InputMissing, match=r"bad\.deny:1: refused"):
            await SOURCE.materialise(wanted, context, tmp_path / "into7")  # from the cache
        remove_volume(cache, cid)
        with pytest.raises(InputMissing, match=r"bad\.deny:1: refused"):
            await SOURCE.identify(params(f"{url}/d"), context)
    assert list(cache.iterdir()) == []


async def test_hosts_that_are_not_allowed_are_refused_even_with_a_digest(tmp_path: Path):
    net = Net()
    rules = {"hosts": (HostPattern("*.example.org"),)}
    context = InputContext(downloads=downloads(net, tmp_path, rules=rules))
    with pytest.raises(InputMissing, match="not among the hosts"):
        await SOURCE.identify(params("http://data.example/x", SHA256=SHA), context)
    assert net.asked == []


async def test_a_provider_that_downloads_nothing_refuses_before_it_looks():
    with pytest.raises(RefusedByPolicy, match=r"policy\.allowed_sources"):
        await SOURCE.identify(params("http://data.example/x"), InputContext())


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"URL": "data:,x"},
        {"URL": "http://u:p@x.example/a"},
        {"URL": "http://x.example/a", "SHA256": "abc"},
        {"URL": "http://x.example/a", "SHA256": "z" * 64},
    ],
)
def test_params_that_name_no_file_are_refused(values: dict[str, str]):
    with pytest.raises(ValidationError):
        UrlDownloadParams.model_validate(values)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://x.example/a/rain%20fall.csv?x=1#y", "rain fall.csv"),
        ("http://x.example/", "file"),
        ("http://x.example", "file"),
        ("http://x.example/a/%2e%2e", "file"),
        ("http://x.example/..%2f..%2fetc%2fpasswd", "file"),
        ("http://x.example/a%00b", "file"),
        ("http://x.example/" + "n" * 300, "file"),
    ],
)
def test_the_file_is_named_by_the_url_and_stays_in_its_directory(url: str, name: str):
    assert file_name_of(url) == name


async def test_a_cached_file_that_is_removed_during_a_run_stays_with_the_run(tmp_path: Path):
    net = Net()
    async with serving(net, d=sends(DATA)) as url:
        source = downloads(net, tmp_path / "cache")
        wanted = params(f"{url}/d", SHA256=SHA)
        volume = await SOURCE.materialise(
            wanted, InputContext(downloads=source), tmp_path / "into8"
        )
    for home in (tmp_path / "cache").iterdir():
        for path in home.iterdir():
            path.unlink()
    assert (volume.host_path / "d").read_bytes() == DATA


def large(sent: list[int], chunks: int = 640) -> Handler:
    """A body of 40 MiB, more than sockets hold; `sent` has a number for each chunk that went out."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for number in range(chunks):
            await response.write(bytes(1 << 16))
            sent.append(number)
        return response

    return handler


async def test_a_download_stands_still_while_runs_do_and_its_time_does(tmp_path: Path):
    net, sent = Net(), list[int]()
    async with serving(net, d=large(sent)) as url:
        source = downloads(net, tmp_path / "cache", rules={"timeout_seconds": 3.0})
        net.pause.turn(on=True)
        zeros = cid_of_sha256(hashlib.sha256(bytes(40 << 20)).digest())
        fetching = asyncio.create_task(source.get(f"{url}/d/zeros", zeros))
        await asyncio.sleep(2)
        before = len(sent)
        await asyncio.sleep(2)  # longer than it may take in all
        assert len(sent) == before < 640
        assert not fetching.done()
        net.pause.turn(on=False)
        found = await fetching
    assert (found.size, found.cid) == (40 << 20, zeros)


async def test_a_download_that_stood_still_is_ended_when_its_own_time_is_over(tmp_path: Path):
    net = Net()
    async with serving(net, d=endless(b"slow", pause=0.05)) as url:
        source = downloads(net, tmp_path / "cache", rules={"timeout_seconds": 1.0})
        net.pause.turn(on=True)
        wanted = cid_of_sha256(bytes(32))
        fetching = asyncio.create_task(source.get(f"{url}/d/endless", wanted))
        await asyncio.sleep(1.5)
        assert not fetching.done()
        net.pause.turn(on=False)
        with pytest.raises(FetchFailed, match="took more than 1 seconds"):
            await asyncio.wait_for(fetching, 10)


async def test_nobody_who_hands_a_job_in_waits_for_the_end_of_a_freeze(tmp_path: Path):
    net = Net()
    async with serving(net, d=sends(DATA)) as url:
        context = InputContext(downloads=downloads(net, tmp_path / "cache"))
        net.pause.turn(on=True)
        with pytest.raises(InputAway, match="SHA256"):
            await SOURCE.identify(params(f"{url}/d/rain.csv"), context)
        assert net.asked == []
        assert await SOURCE.identify(params(f"{url}/d/rain.csv", SHA256=SHA), context)


async def test_a_server_that_is_away_when_a_job_comes_in_is_no_missing_input(tmp_path: Path):
    context = InputContext(downloads=downloads(Net(), tmp_path / "cache"))
    with pytest.raises(InputAway, match="cannot be resolved"):
        await SOURCE.identify(params("http://data.example/d/rain.csv"), context)
