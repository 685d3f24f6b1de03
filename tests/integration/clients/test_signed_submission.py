"""A job signed with `sp-plugin job sign`, handed in by the SDK from PyPI as it is: no token, no open scope to submit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from devstack.auth import Permission
from devstack.stack import Devstack
from lotus_client.bls import BlsKey
from lotus_client.signed_text import sign_text
from tests.e2e.command import run_command
from tests.integration.clients.test_bacalhau_sdk import PYTHON, follow, sdk_of
from tests.integration.jobs.parts import wasm_job
from tests.integration.service.conftest import SidecarAtWork, running, write_config
from tests.integration.service.test_story import HELLO, approve

JOBS = "/api/v1/orchestrator/jobs"
needs_sdk = pytest.mark.skipif(
    not PYTHON.exists(), reason="needs tests/clients/venv: see test_bacalhau_sdk.py"
)


def job_file(folder: Path, payee: object = None) -> Path:
    values = wasm_job(HELLO)
    values |= {"Name": "hello", "Meta": {"filecoin.payee": str(payee)} if payee else {}}
    path = folder / "job.json"
    path.write_text(json.dumps(values))
    return path


def private(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


class Submitter:
    """Somebody with a key and the sidecar's address, and no token."""

    def __init__(self, sidecar: SidecarAtWork, home: Path) -> None:
        home.mkdir()
        self.home = home
        self.environment = {"SP_PLUGIN_URL": sidecar.sidecar.url, "HOME": str(home)}

    async def __call__(self, *words: object) -> Any:
        return await run_command(*map(str, words), environment=self.environment)

    async def job(self, *words: object) -> dict[str, Any]:
        """The JSON that a command printed."""
        done = await self(*words)
        assert done.exit_code == 0, done.stderr
        return dict(json.loads(done.stdout))


def opened(*signers: object) -> dict[str, str]:
    listed = ", ".join(map(str, signers))
    return {"  port: 0": f"  port: 0\n  anonymous_scopes: [read]\n  signers: [{listed}]"}


@needs_sdk
async def test_the_sdk_hands_in_a_signed_job_and_the_payees_consent_is_shown(
    devnet: Devstack, tmp_path: Path
):
    carol = devnet.network.key("carol")
    async with running(write_config(devnet, tmp_path, **opened(carol.address))) as sidecar:
        submitter = Submitter(sidecar, tmp_path / "home")
        key = private(tmp_path / "carol.key", carol.secret.hex())
        file = job_file(tmp_path, carol.address)
        signed = await submitter.job("job", "sign", file, "--key-file", key)
        assert "filecoin.submitter" not in signed["Meta"]
        async with sdk_of(sidecar.sidecar.url, submitter.home) as sdk:
            job_id = (await sdk("put", signed))["JobID"]
            assert (await sdk("api_put", signed))["JobID"] == job_id
            await approve(devnet, sidecar, job_id, "ada", "ben")
            assert await sdk.until_over(job_id) == "Completed"
        assert await follow(sidecar, job_id) == "hello\n"
        described = (await submitter("job", "describe", job_id)).stdout
        lines = [" ".join(line.split()) for line in described.splitlines()]
        assert f"signed by {carol.address.to_text('t')}" in lines
        assert "payee agrees yes" in lines


async def test_a_bls_key_in_a_wallet_signs_for_another_payee(devnet: Devstack, tmp_path: Path):
    key = BlsKey(bytes([5] * 32))
    devnet.node.wallet.add(key)
    info = f"{devnet.token(*Permission)}:/ip4/127.0.0.1/tcp/{devnet.api_port}/http"
    payee = devnet.network.key("carol").address
    async with running(write_config(devnet, tmp_path, **opened(key.address))) as sidecar:
        submitter = Submitter(sidecar, tmp_path / "home")
        wallet = private(tmp_path / "wallet", info)
        words = ("--wallet-info-file", wallet, "--signer", key.address)
        signed = await submitter.job("job", "sign", job_file(tmp_path, payee), *words)
        assert signed["Meta"]["filecoin.submitter"] == str(key.address)
        (tmp_path / "signed.json").write_text(json.dumps(signed))
        done = await submitter("job", "submit", tmp_path / "signed.json")
        assert done.exit_code == 0, done.stderr
        described = await submitter("job", "describe", done.stdout.strip())
        assert f"signed by     {key.address.to_text('t')}" in described.stdout
        assert "payee agrees  -" in described.stdout


async def test_a_signature_made_elsewhere_is_put_in_and_checked_before_it_is_sent(
    devnet: Devstack, tmp_path: Path
):
    carol = devnet.network.key("carol")
    file = job_file(tmp_path)
    async with running(write_config(devnet, tmp_path, **opened(carol.address))) as sidecar:
        submitter = Submitter(sidecar, tmp_path / "home")
        shown = await submitter.job(
            "job", "sign", file, "--signer", carol.address, "--show", "--json"
        )
        signature = sign_text(carol, shown["payload"].encode()).to_bytes().hex()
        words = ["job", "sign", file, "--signer", carol.address, "--signature", signature]
        signed = await submitter.job(*words, "--expires", shown["expires"])
        (tmp_path / "signed.json").write_text(json.dumps(signed))
        assert (await submitter("job", "submit", tmp_path / "signed.json")).exit_code == 0
        late = await submitter(*words, "--expires", shown["expires"] + 1)
        assert late.exit_code == 2
        assert "was not made by" in late.stderr
        for changed, code, words_ in (
            ({"Name": "other"}, 2, "nothing in it may change afterwards"),
            ({"Meta": {}}, 3, "or a job that `sp-plugin job sign` has signed"),
        ):
            (tmp_path / "changed.json").write_text(json.dumps(signed | changed))
            done = await submitter("job", "submit", tmp_path / "changed.json")
            assert (done.exit_code, words_ in done.stderr) == (code, True), done.stderr
            assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "name one of --key-file and --wallet-info-file"),
        (("--signature", "00"), "say --signer"),
        (("--show", "--signer", "0x" + "ab" * 20), "is an Ethereum address"),
        (("--show", "--signer", "f01234"), "carries no key"),
        (("--show", "--signer", "nobody"), "--signer: "),
        (("--show", "--signer", "SIGNER", "--provider", "SIGNER"), "not the f0 address"),
        (("--show", "--signer", "SIGNER", "--expires", "9" * 20), "--expires"),
    ],
)
async def test_without_a_sidecar_a_job_is_signed_too_and_mistakes_are_told(
    tmp_path: Path, words: tuple[str, ...], message: str
):
    signer = "f1n3ts562ht4xeeneo7lkmhaxbfqvqha4dh3i636q"
    given = [word.replace("SIGNER", signer) for word in words]
    offline = {"--provider": "f01000", "--network": "mainnet", "--expires": "5000"}
    for option, value in offline.items():
        given += [] if option in given else [option, value]
    file = job_file(tmp_path)
    done = await run_command("job", "sign", str(file), *given)
    assert (done.exit_code, message in done.stderr) == (2, True), done.stderr
    assert "Traceback" not in done.stderr
    good = ["--show", "--signer", signer, *(word for pair in offline.items() for word in pair)]
    done = await run_command("job", "sign", str(file), *good)
    assert done.exit_code == 0
    assert '"provider": "f01000"' in done.stdout
