"""Every `Eth*` method answers in the shape of Lotus' own OpenRPC document."""

from __future__ import annotations

from typing import Any

import aiohttp
import jsonschema

from devstack.rpc import eth
from devstack.rpc.methods import RawParams
from devstack.rpc.tables import table_v0, table_v1, table_v2
from devstack.stack import Devstack
from lotus_client.actors.evm import EAM, CreateReturn, EamMethod, EvmMethod, cbor_bytes
from lotus_client.address import Address
from lotus_client.crypto import Secp256k1Key
from lotus_client.eth import EthTransaction, sign_delegated
from lotus_client.messages import Message
from lotus_client.types import AttoFil
from tests.integration.devstack.conftest import RawRpc
from tests.integration.devstack.openrpc import check_result, load_document
from tests.unit.devstack.contracts import calldata, initcode

DOCUMENT = load_document("v1-full")
EXECUTION = load_document("eth-execution")

# Go's `omitempty` in EthTx and EthFeeHistory: absent according to the kind of transaction or what was asked.
MAY_BE_ABSENT = {
    "EthGetTransactionByHash": {"gasPrice": "0x0"},
    "EthGetTransactionByHashLimited": {"gasPrice": "0x0"},
    "EthGetTransactionByBlockHashAndIndex": {"gasPrice": "0x0"},
    "EthGetTransactionByBlockNumberAndIndex": {"gasPrice": "0x0"},
}
# Channels to a WebSocket, see test_eth.
SKIPPED = {"EthSubscribe"}


async def _story(net: Devstack) -> tuple[str, str, str, str]:
    """Transaction hash, contract, another account, and the included transaction's raw successor."""
    network = net.network
    chain_id = network.config.eip155_chain_id
    key = Secp256k1Key(b"\x21" * 32)
    me = key.delegated_address
    network.send("alice", me, value=AttoFil(10**20))
    await net.advance(2)

    def signed(to: Address, data: bytes, nonce: int) -> Any:
        method = EamMethod.CREATE_EXTERNAL if to == EAM else EvmMethod.INVOKE_CONTRACT
        message = Message(to, me, nonce, method=int(method), params=cbor_bytes(data))
        return sign_delegated(network.estimate_gas(message), key, chain_id)

    made = network.mpool.push(signed(EAM, initcode("Counter", ["uint256"], [5]), 0))
    found = network.mine_until(made)
    contract = Address.of_eth(CreateReturn.from_cbor(found.receipt.return_).eth_address)
    data = calldata("add(uint256,string)", 1, "one")
    called = signed(contract, data, 1)
    network.mpool.push(called)
    await net.advance(2)
    digest = "0x" + EthTransaction.of_message(called, chain_id).hash.hex()
    raw = EthTransaction.of_message(signed(contract, data, 2), chain_id).raw_bytes()
    assert contract.eth_address is not None
    assert me.eth_address is not None
    return digest, "0x" + contract.eth_address.hex(), "0x" + me.eth_address.hex(), "0x" + raw.hex()


async def _calls(devnet: Devstack, rpc: RawRpc) -> dict[str, list[Any]]:
    """Parameters by method that make each answer with something in it."""
    digest, contract, me, raw = await _story(devnet)
    receipt = await rpc("eth_getTransactionReceipt", digest)
    block, number = receipt["blockHash"], receipt["blockNumber"]
    assert receipt["logs"]
    logs, blocks = await rpc("eth_newFilter", {"fromBlock": "0x0"}), await rpc("eth_newBlockFilter")
    cid = await rpc("EthGetMessageCidByTransactionHash", digest)
    call = {"from": me, "to": contract, "data": "0x" + calldata("count()").hex()}
    return {
        "EthAddressToFilecoinAddress": [contract],
        "EthCall": [call, "latest"],
        "EthEstimateGas": [call],
        "EthFeeHistory": ["0x2", "latest", [50]],
        "EthGetBalance": [me, "latest"],
        "EthGetBlockByHash": [block, True],
        "EthGetBlockByNumber": [number, True],
        "EthGetBlockReceipts": [number],
        "EthGetBlockReceiptsLimited": [number, 100],
        "EthGetBlockTransactionCountByHash": [block],
        "EthGetBlockTransactionCountByNumber": [number],
        "EthGetCode": [contract, "latest"],
        "EthGetFilterChanges": [logs],
        "EthGetFilterLogs": [await rpc("eth_newFilter", {"fromBlock": "0x0"})],
        "EthGetLogs": [{"fromBlock": "0x0"}],
        "EthGetMessageCidByTransactionHash": [digest],
        "EthGetStorageAt": [contract, "0x0", "latest"],
        "EthGetTransactionByBlockHashAndIndex": [block, "0x0"],
        "EthGetTransactionByBlockNumberAndIndex": [number, "0x0"],
        "EthGetTransactionByHash": [digest],
        "EthGetTransactionByHashLimited": [digest, 100],
        "EthGetTransactionCount": [me, "latest"],
        "EthGetTransactionHashByCid": [cid],
        "EthGetTransactionReceipt": [digest],
        "EthGetTransactionReceiptLimited": [digest, 100],
        "EthNewFilter": [{}],
        "EthSendRawTransaction": [raw],
        "EthTraceBlock": [number],
        "EthTraceTransaction": [digest],
        "EthTraceReplayBlockTransactions": [number, ["trace"]],
        "EthTraceFilter": [{"fromBlock": number, "toAddress": [contract]}],
        "EthUninstallFilter": [blocks],
        "EthUnsubscribe": ["0x" + "00" * 32],
        "FilecoinAddressToEthAddress": ["t01000"],
    }


async def test_every_answer_has_the_shape_of_lotus_document(devnet: Devstack, rpc: RawRpc) -> None:
    calls = await _calls(devnet, rpc)
    for method in eth.METHODS:
        if method.name in SKIPPED:
            continue
        result = await rpc(method.name, *calls.get(method.name, []))
        if isinstance(result, dict):
            result = MAY_BE_ABSENT.get(method.name, {}) | result
        check_result(DOCUMENT[f"Filecoin.{method.name}"], result)


async def test_answers_fit_ethereums_own_schemas_as_lotus_tests_its_own(
    devnet: Devstack, rpc: RawRpc
) -> None:
    calls = await _calls(devnet, rpc)
    checked = 0
    for method in eth.METHODS:
        for alias in method.aliases:
            if alias in EXECUTION:
                result = await rpc(alias, *calls.get(method.name, []))
                jsonschema.validate(result, EXECUTION[alias]["result"]["schema"])
                checked += 1
    assert checked == len(EXECUTION)


def test_each_method_takes_as_many_parameters_as_lotus() -> None:
    for method in eth.METHODS:
        if not isinstance(method.params, RawParams):
            wanted = DOCUMENT[f"Filecoin.{method.name}"]["params"]
            assert len(method.params) == len(wanted), method.name


def test_v1_and_v2_serve_eth_under_both_names_and_v0_does_not() -> None:
    for table in (table_v1(), table_v2()):
        for name in ("eth_call", "Filecoin.EthCall", "net_version", "web3_clientVersion"):
            assert name in table.by_name
            assert name not in table_v0().by_name


async def test_reading_and_sending_need_no_token(
    devnet: Devstack, session: aiohttp.ClientSession
) -> None:
    nobody = RawRpc(session, f"http://127.0.0.1:{devnet.api_port}/rpc/v1", "")
    _, _, _, raw = await _story(devnet)
    assert (await nobody("eth_sendRawTransaction", raw)).startswith("0x")


async def test_params_of_the_wrong_form_are_refused_as_lotus_refuses_them(
    devnet: Devstack, rpc: RawRpc
) -> None:
    await devnet.advance(2)
    for method, params, code in (
        ("eth_getBalance", ["0x12", "latest"], -32700),
        ("eth_getBalance", ["0x" + "11" * 20], -32602),
        ("eth_getBalance", ["0x" + "11" * 20, {"blockNumber": "0x1", "blockHash": "0x1"}], -32700),
        ("eth_getTransactionReceipt", ["0x11"], -32700),
        ("eth_estimateGas", [], 1),
        ("eth_feeHistory", ["0x1"], 1),
        ("eth_sendRawTransaction", ["0x"], 1),
        ("eth_getBlockByHash", ["0x" + "11" * 32, False], None),
        ("eth_getBalance", ["0x" + "11" * 20, {"blockHash": "0x" + "11" * 32}], 1),
        ("eth_getStorageAt", ["0x" + "11" * 20, "0x" + "00" * 33, "latest"], 1),
        ("FilecoinAddressToEthAddress", ["t2aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaai"], 1),
    ):
        answer = await rpc.answer(method, *params)
        assert answer.get("error", {}).get("code") == code, (method, answer)


ODD = [
    None, True, 5, -1, 1.5, "", "0x", "x", "0xzz", "0x" + "f" * 70, "latest", [], [None], ["0x1"], {},
    {"to": "0x1"}, {"blockHash": None}, {"address": 5, "topics": 7}, {"topics": [5]}, "0x" + "ff" * 20,
    "0xff" + "00" * 11 + "ff" * 8, "0x" + "00" * 32, {"to": "0xff" + "00" * 11 + "ff" * 8},
    {"gas": "-0x1"}, {"value": "0x" + "f" * 80, "to": "0x" + "11" * 20}, "-0x5", "0x-5",
]  # fmt: skip


async def test_odd_params_never_make_a_handler_panic(devnet: Devstack, rpc: RawRpc) -> None:
    await devnet.advance(3)
    for method in eth.METHODS:
        count = 2 if isinstance(method.params, RawParams) else len(method.params)
        for at in range(count):
            for value in ODD:
                given: list[Any] = ["latest"] * count
                given[at] = value
                for params in (given, [value] * count):
                    answer = await rpc.answer(method.name, *params)
                    code = answer.get("error", {}).get("code")
                    assert code != 0, (method.name, params, answer)
