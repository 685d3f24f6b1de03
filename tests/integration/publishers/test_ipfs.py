"""Results are pushed to an IPFS node with their record, and count as published only when it says that it pinned both."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from deals.blocks import each_of
from deals.unixfs import UnixFs
from lotus_client.cid import RAW, Cid
from lotus_client.secrets import Secret
from sp_plugin.publishers.base import PublishError
from sp_plugin.publishers.ipfs import IpfsParams, IpfsPublisher
from sp_plugin.publishers.kubo_api import KuboApi, KuboError
from tests.integration.publishers.fake_kubo import FakeKubo, running_kubo
from tests.integration.publishers.parts import RECORD, context_in, results_in

PARAMS = IpfsParams.model_validate({})


async def push(tmp_path: Path, kubo: FakeKubo, secret: str | None = None):
    results = results_in(tmp_path)
    async with running_kubo(kubo):
        api = KuboApi(kubo.url, None if secret is None else Secret(secret), 10)
        context = context_in(tmp_path, kubo=api)
        return results, await IpfsPublisher().publish(PARAMS, results, context)


async def test_results_and_their_record_are_pinned_by_the_node(tmp_path: Path):
    kubo = FakeKubo("Bearer word")
    results, published = await push(tmp_path, kubo, "Bearer word")
    record = Cid.of_sha2_256(RAW, results.record.read_bytes())
    assert kubo.pinned == [results.root, record]
    assert json.loads(kubo.blocks[record]) == RECORD
    assert (published.kind, published.params) == ("ipfs", {"CID": str(results.root)})
    assert published.details["run_record_cid"] == str(record)
    assert published.details["blocks"] == len(kubo.blocks)
    assert b"alpha" in kubo.blocks.values()
    kept = tmp_path / "cars" / f"{results.root}.car"
    assert published.details["car"] == str(kept)
    assert kept.read_bytes() == results.car.read_bytes()


async def test_without_a_node_the_car_and_the_record_lie_on_this_host(tmp_path: Path):
    results = results_in(tmp_path)
    published = await IpfsPublisher().publish(PARAMS, results, context_in(tmp_path))
    record = tmp_path / "cars" / f"{results.root}.run-record.json"
    assert published.details["run_record"] == str(record)
    assert json.loads(record.read_text()) == RECORD
    assert "kubo" not in published.details


async def test_pushing_again_is_harmless(tmp_path: Path):
    kubo, results = FakeKubo(), results_in(tmp_path)
    async with running_kubo(kubo):
        context = context_in(tmp_path, kubo=KuboApi(kubo.url))
        first = await IpfsPublisher().publish(PARAMS, results, context)
        assert await IpfsPublisher().publish(PARAMS, results, context) == first
    assert kubo.imports == 2


async def test_a_root_that_could_not_be_pinned_is_not_published(tmp_path: Path):
    kubo = FakeKubo()
    kubo.refuse_pin = "pin: context canceled"
    with pytest.raises(PublishError, match=r"could not pin bafy.*: pin: context canceled"):
        await push(tmp_path, kubo)


def lines(*values: object) -> web.Response:
    text = "".join(json.dumps(value) + "\n" for value in values)
    return web.Response(text=text, content_type="application/json")


@pytest.mark.parametrize(
    ("answer", "said", "again"),
    [
        (lambda: lines({"Stats": {"BlockCount": 6}}), "does not say that it pinned", True),
        (lines, "does not say that it pinned", True),
        (lambda: lines({"Message": "disk full", "Code": 0, "Type": "error"}), "disk full", True),
        (
            lambda: web.json_response({"Message": "lock: busy", "Code": 0}, status=500),
            "lock: busy",
            True,
        ),
        (lambda: web.Response(status=503), "HTTP 503", True),
        (lambda: web.Response(status=404), "is not Kubo's RPC API", False),
        (lambda: web.Response(status=302, headers={"Location": "/x"}), "not Kubo's", False),
        (lambda: web.Response(text="<html>"), "does not answer JSON", False),
        (lambda: web.Response(text="[" * 100_000), "does not answer JSON", False),
        (lambda: web.Response(body=bytes(2 << 20)), "more than 1048576 bytes", False),
        (lambda: lines({"Root": {"Cid": {"/": "nonsense"}}}), "no CID", False),
        (lambda: lines({"Root": {"Cid": 7}}), "no CID", False),
    ],
)
async def test_every_other_answer_fails_and_says_whether_to_try_again(
    tmp_path, answer, said, again
):
    kubo = FakeKubo()
    kubo.broken = [answer()]
    with pytest.raises(PublishError, match=said) as caught:
        await push(tmp_path, kubo)
    assert caught.value.again is again


async def test_a_wrong_authorization_names_the_key_and_shows_no_secret(tmp_path: Path):
    with pytest.raises(PublishError, match="authorization_file") as caught:
        await push(tmp_path, FakeKubo("Bearer right"), "Bearer sesame")
    assert not caught.value.again
    assert "sesame" not in str(caught.value)


async def test_a_node_that_is_away_is_worth_another_try(tmp_path: Path):
    results = results_in(tmp_path)
    context = context_in(tmp_path, kubo=KuboApi("http://127.0.0.1:9", None, 5))
    with pytest.raises(PublishError, match="does not answer") as caught:
        await IpfsPublisher().publish(PARAMS, results, context)
    assert caught.value.again


async def test_the_version_tells_a_kubo_from_other_servers():
    kubo = FakeKubo()
    async with running_kubo(kubo):
        assert await KuboApi(kubo.url).version() == "0.38.1"
        kubo.broken = [web.json_response({"ok": True})]
        with pytest.raises(KuboError, match="it is not Kubo's RPC API"):
            await KuboApi(kubo.url).version()


async def test_a_record_larger_than_a_block_comes_as_a_file_of_several(tmp_path: Path):
    kubo, results = FakeKubo(), results_in(tmp_path)
    long = json.dumps(RECORD | {"inputs": ["x" * 1000] * 400})
    results.record.write_text(long)
    async with running_kubo(kubo):
        published = await IpfsPublisher().publish(
            PARAMS, results, context_in(tmp_path, kubo=KuboApi(kubo.url))
        )
    root = Cid.parse(published.details["run_record_cid"])
    assert root in kubo.pinned
    assert max(map(len, kubo.blocks.values())) <= 262_144
    stored = io.BytesIO()
    for chunk in UnixFs(Blocks(kubo.blocks)).read_file(root):
        stored.write(chunk)
    assert stored.getvalue().decode() == long


class Blocks:
    """The node's blocks as a store."""

    def __init__(self, blocks: dict[Cid, bytes]) -> None:
        self.get = blocks.__getitem__

    def get_many(self, cids: Iterable[Cid]) -> Iterator[tuple[Cid, bytes]]:
        return each_of(self, cids)
