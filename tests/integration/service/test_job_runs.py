"""`wasm run`, `job estimate` and `job logs --follow` as a person types them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import wasmtime

from devstack.stack import Devstack
from tests.integration.executors.wasm_programs import program
from tests.integration.jobs.parts import wasm_job
from tests.integration.service.conftest import running, write_config
from tests.integration.service.test_story import HELLO, approve


async def start(config: Path, *words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sp_plugin", *words, "--config", str(config),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=dict(os.environ),
    )  # fmt: skip


async def done(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    async with asyncio.timeout(40):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_wasm_run_follows_a_job_to_its_end_and_prints_what_it_wrote(
    devnet: Devstack, tmp_path: Path
) -> None:
    module = tmp_path / "hello.wasm"
    module.write_bytes(bytes(wasmtime.wat2wasm(program(HELLO))))
    job = tmp_path / "job.json"
    job.write_text(json.dumps(wasm_job(HELLO)))
    config = write_config(devnet, tmp_path)
    async with running(config) as sidecar:
        run = await start(config, "wasm", "run", str(module), "--name", "greeting")

        def is_there(found: Any) -> bool:
            return bool(found["Items"])

        listed = await sidecar.until("/api/v1/orchestrator/jobs", is_there)
        await approve(devnet, sidecar, listed["Items"][0]["ID"], "ada", "ben")
        code, out, err = await done(run)
        assert (code, out) == (0, "hello\n"), err
        assert "waits for approvals" in err
        assert err.rstrip().endswith("Completed")

        code, out, _ = await done(await start(config, "job", "logs", "greeting", "--follow"))
        assert (code, out) == (0, "hello\n")
        code, out, err = await done(await start(config, "job", "estimate", str(job), "--json"))
        assert code == 0, err
        found = json.loads(out)
        assert (found["engine"], found["earlier_runs"]) == ("wasm", 1)
        assert found["seconds"] > 0
        wrong = await done(await start(config, "wasm", "run", str(module), "-i", "ftp://x:/in"))
        assert (wrong[0], "--input" in wrong[2]) == (2, True)
