"""The node's wallet with an f410 key: made, funded, asked to sign and to send, exported and kept."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from devstack.stack import Devstack, DevstackConfig
from lotus_client.address import Address
from lotus_client.types import AttoFil

FIL = 10**18


async def _ask(devnet: Devstack, method: str, *params: Any) -> Any:
    call = {"jsonrpc": "2.0", "id": 1, "method": f"Filecoin.{method}", "params": params}
    headers = {"Authorization": f"Bearer {devnet.token()}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"http://127.0.0.1:{devnet.api_port}/rpc/v1", json=call, headers=headers
        ) as answer,
    ):
        body = await answer.json()
    assert "error" not in body, body["error"]
    return body["result"]


def _message(sender: str, to: str, **more: Any) -> dict[str, Any]:
    return {"Version": 0, "To": to, "From": sender, "Nonce": 0, "Value": "1000", "GasLimit": 0,
            "GasFeeCap": "0", "GasPremium": "0", "Method": 0, "Params": None, **more}  # fmt: skip


async def test_a_delegated_key_of_the_wallet_signs_and_sends(devnet: Devstack) -> None:
    made = await _ask(devnet, "WalletNew", "delegated")
    assert made.startswith("t410f")
    devnet.network.send("alice", Address.parse(made), value=AttoFil(FIL))
    await devnet.advance(2)

    data = base64.b64encode(b"to be signed").decode()
    signature = await _ask(devnet, "WalletSign", made, data)
    assert signature["Type"] == 3
    assert await _ask(devnet, "WalletVerify", made, data, signature) is True

    message = _message(made, made, Method=3844450837)  # InvokeEVM: all that such senders can
    sent = await _ask(devnet, "MpoolPushMessage", message, None)
    assert sent["Signature"]["Type"] == 3
    found = devnet.network.mine_until(devnet.network.mpool.pending()[0].cid)
    assert found.receipt.exit_code == 0
    assert devnet.network.pending_state().actor(Address.parse(made)).nonce == 1


@pytest.mark.parametrize("kind", ["secp256k1", "bls", "delegated"])
async def test_a_key_is_the_same_after_export_and_import(devnet: Devstack, kind: str) -> None:
    made = await _ask(devnet, "WalletNew", kind)
    key = await _ask(devnet, "WalletExport", made)
    assert key["Type"] == kind
    await _ask(devnet, "WalletDelete", made)
    assert await _ask(devnet, "WalletHas", made) is False
    assert await _ask(devnet, "WalletImport", key) == made


async def test_a_delegated_key_comes_back_with_the_chain(tmp_path: Path) -> None:
    config = DevstackConfig(data_dir=tmp_path, keep=True)
    async with Devstack(config) as devnet:
        made = await _ask(devnet, "WalletNew", "delegated")
    async with Devstack(config) as devnet:
        assert await _ask(devnet, "WalletHas", made) is True
