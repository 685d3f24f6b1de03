"""web3.py, unchanged, against the devnet."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from eth_account import Account
from web3 import AsyncHTTPProvider, AsyncWeb3
from web3.exceptions import ContractCustomError, ContractLogicError, ContractPanicError

from devstack.stack import Devstack
from lotus_client.address import Address
from lotus_client.crypto import Secp256k1Key, keccak256
from lotus_client.types import AttoFil
from tests.integration.devstack.conftest import RawRpc
from tests.unit.devstack.contracts import artifact

FIL = 10**18
SOMEBODY = "0x" + "22" * 20


class Wallet:
    """An Ethereum account that signs locally, as wallets do, and mines its transactions."""

    def __init__(self, net: Devstack, w3: AsyncWeb3[Any], secret: int = 0x11) -> None:
        self.net = net
        self.w3 = w3
        self.account = Account.from_key(bytes([secret]) * 32)
        self.address: Any = self.account.address
        self.filecoin = Secp256k1Key(bytes([secret]) * 32).delegated_address

    async def fund(self, amount: int = 100 * FIL) -> None:
        self.net.network.send("alice", self.filecoin, value=AttoFil(amount))
        await self.net.advance(2)

    async def push(self, transaction: Any) -> Any:
        nonce = await self.w3.eth.get_transaction_count(self.address, "pending")
        signed = self.account.sign_transaction({**transaction, "nonce": nonce})
        return await self.w3.eth.send_raw_transaction(signed.raw_transaction)

    async def send(self, transaction: Any) -> Any:
        digest = await self.push(transaction)
        await self.net.advance(2)
        return await self.w3.eth.get_transaction_receipt(digest)

    async def transfer(self, to: str, value: int) -> Any:
        """What a wallet fills in for a transfer."""
        call: Any = {"from": self.address, "to": to, "value": value}
        return {
            "type": 2,
            "chainId": await self.w3.eth.chain_id,
            "to": to,
            "value": value,
            "gas": await self.w3.eth.estimate_gas(call),
            "maxFeePerGas": 2 * await self.w3.eth.gas_price,
            "maxPriorityFeePerGas": await self.w3.eth.max_priority_fee,
        }

    async def deploy(self, name: str, *arguments: Any) -> Any:
        """The deployed contract, bound to its ABI."""
        made = artifact(name)
        factory = self.w3.eth.contract(abi=made["abi"], bytecode=made["bytecode"])
        call = await factory.constructor(*arguments).build_transaction({"from": self.address})
        receipt = await self.send(call)
        assert receipt["status"] == 1
        return self.w3.eth.contract(receipt["contractAddress"], abi=made["abi"])

    async def call(self, function: Any, value: int = 0) -> Any:
        """The receipt of a mined call."""
        return await self.send(
            await function.build_transaction({"from": self.address, "value": value})
        )


@pytest.fixture
async def w3(devnet: Devstack) -> AsyncIterator[AsyncWeb3[Any]]:
    made = AsyncWeb3(AsyncHTTPProvider(f"http://127.0.0.1:{devnet.api_port}/rpc/v1"))
    await devnet.advance(3)
    yield made
    await made.provider.disconnect()


@pytest.fixture
async def wallet(devnet: Devstack, w3: AsyncWeb3[Any]) -> Wallet:
    made = Wallet(devnet, w3)
    await made.fund()
    return made


async def test_money_goes_from_f1_to_0x_and_on_and_both_sides_show_it(
    devnet: Devstack, w3: AsyncWeb3[Any], wallet: Wallet, rpc: RawRpc
) -> None:
    assert await w3.eth.get_balance(wallet.address) == 100 * FIL
    receipt = await wallet.send(await wallet.transfer(SOMEBODY, 7))
    assert (receipt["status"], receipt["to"]) == (1, w3.to_checksum_address(SOMEBODY))
    cost = receipt["gasUsed"] * receipt["effectiveGasPrice"]
    spent = 100 * FIL - 7 - await w3.eth.get_balance(wallet.address)
    assert 0 <= spent - cost < receipt["gasUsed"]  # the price is rounded down to a unit of gas
    for address in (wallet.filecoin, Address.parse(SOMEBODY)):
        native = int(await rpc("WalletBalance", str(address)))
        assert (
            int(await rpc("eth_getBalance", "0x" + address.eth_address.hex(), "latest"), 16)
            == native
        )
    transaction = await w3.eth.get_transaction(receipt["transactionHash"])
    cid = await rpc("EthGetMessageCidByTransactionHash", receipt["transactionHash"].to_0x_hex())
    message = await rpc("ChainGetMessage", cid)
    assert (message["From"], message["Method"]) == (str(wallet.filecoin), 3844450837)
    assert transaction["gas"] == message["GasLimit"]
    assert await rpc("EthGetTransactionHashByCid", cid) == receipt["transactionHash"].to_0x_hex()


async def test_eth_and_native_nonces_are_one(
    devnet: Devstack, w3: AsyncWeb3[Any], wallet: Wallet, rpc: RawRpc
) -> None:
    async def nonces() -> tuple[int, int, int]:
        return (
            await w3.eth.get_transaction_count(wallet.address, "pending"),
            await rpc("MpoolGetNonce", str(wallet.filecoin)),
            await w3.eth.get_transaction_count(wallet.address, "latest"),
        )

    assert await nonces() == (0, 0, 0)
    await wallet.push(await wallet.transfer(SOMEBODY, 1))
    assert await nonces() == (1, 1, 0)
    await devnet.advance(2)
    assert await nonces() == (1, 1, 1)
    contract = await wallet.deploy("Factory")
    assert await w3.eth.get_transaction_count(contract.address) == 1
    await wallet.call(contract.functions.make(1))
    assert await w3.eth.get_transaction_count(contract.address) == 2


async def test_a_contract_is_deployed_called_read_and_heard(
    devnet: Devstack, w3: AsyncWeb3[Any], wallet: Wallet
) -> None:
    counter = await wallet.deploy("Counter", 5)
    state = devnet.network.pending_state().actor_state(Address.parse(counter.address))
    assert await w3.eth.get_code(counter.address) == state.bytecode
    assert await w3.eth.get_code(wallet.address) == b""
    receipt = await wallet.call(counter.functions.add(3, "three"))
    (event,) = counter.events.Counted().process_receipt(receipt)
    assert event["args"] == {"by": wallet.address, "count": 8, "note": "three"}
    assert await counter.functions.count().call() == 8
    assert int.from_bytes(await w3.eth.get_storage_at(counter.address, 0), "big") == 8
    assert await counter.functions.count().call(block_identifier=receipt["blockNumber"] - 1) == 5
    await wallet.call(counter.functions.add(4, "four"))
    logs = await counter.events.Counted().get_logs(from_block=0)
    assert [log["args"]["count"] for log in logs] == [8, 12]
    chosen = await counter.events.Counted().get_logs(from_block=0, argument_filters={"count": 12})
    assert [log["args"]["note"] for log in chosen] == ["four"]
    none = await counter.events.Counted().get_logs(from_block=0, argument_filters={"count": 9})
    assert none == []
    found = await w3.eth.get_logs({"blockHash": receipt["blockHash"], "address": counter.address})
    assert found == receipt["logs"]
    bloom = int.from_bytes(receipt["logsBloom"], "big")
    assert bloom.bit_count() in range(3, 13)


async def test_a_failed_call_tells_why_and_a_failed_transaction_shows_status_0(
    devnet: Devstack, w3: AsyncWeb3[Any], wallet: Wallet, rpc: RawRpc
) -> None:
    counter = await wallet.deploy("Counter", 5)
    functions = counter.functions
    with pytest.raises(ContractLogicError, match="the counter refuses"):
        await functions.refuse().call()
    with pytest.raises(ContractCustomError):
        await functions.add(5000, "").call()
    with pytest.raises(ContractPanicError, match="0x12"):
        await functions.panic(0).call()
    with pytest.raises(ContractLogicError, match="the counter refuses"):
        await functions.refuse().estimate_gas({"from": wallet.address})
    answer = await rpc.answer(
        "eth_call",
        {"to": counter.address, "data": functions.invalid()._encode_transaction_data()},
        "latest",
    )
    assert answer["error"] == {
        "code": 3,
        "message": "message execution failed (exit=[34], revert reason=[none], vm error=[exit 34])",
        "data": "0x",
    }
    call = await functions.refuse().build_transaction({"from": wallet.address, "gas": 10**7})
    receipt = await wallet.send(call)
    assert (receipt["status"], receipt["logs"], receipt["contractAddress"]) == (0, [], None)
    rich = {"from": wallet.address, "to": SOMEBODY, "value": hex(10**30)}
    poor = (await rpc.answer("eth_call", rich, "latest"))["error"]
    assert (poor["code"], poor["data"]) == (3, "0x")
    assert "exit=[6]" in poor["message"]


async def test_an_estimate_is_enough_and_not_much_more(w3: AsyncWeb3[Any], wallet: Wallet) -> None:
    factory = await wallet.deploy("Factory")
    function = factory.functions.make(3)
    estimate = await function.estimate_gas({"from": wallet.address})
    receipt = await wallet.call(function)
    assert receipt["status"] == 1
    assert receipt["gasUsed"] <= estimate <= receipt["gasUsed"] * 13 // 10
    unknown = await function.estimate_gas({"from": w3.to_checksum_address("0x" + "99" * 20)})
    assert unknown > 0


# Calls itself as often as its argument says, with all its gas, and stores a word at the end; reverts when a call fails.
NESTED = (
    "60248060095f395ff3"
    "5f358015601e5760019003" "5f52" "5f5f60205f5f305af1" "601c57" "5f5ffd" "5b00" "5b60015f5500"
)  # fmt: skip


async def test_an_estimate_leaves_gas_for_deeply_nested_calls(
    w3: AsyncWeb3[Any], wallet: Wallet, rpc: RawRpc
) -> None:
    create = {"from": wallet.address, "data": "0x" + NESTED, "chainId": await w3.eth.chain_id}
    create["gas"] = await w3.eth.estimate_gas({"from": wallet.address, "data": "0x" + NESTED})
    create["gasPrice"] = await w3.eth.gas_price
    contract = (await wallet.send(create))["contractAddress"]
    deep = {"from": wallet.address, "to": contract, "data": "0x" + (40).to_bytes(32, "big").hex()}
    gas = await w3.eth.estimate_gas(deep)
    receipt = await wallet.send({**create, **deep, "gas": gas})
    assert receipt["status"] == 1
    assert int.from_bytes(await w3.eth.get_storage_at(contract, 0), "big") == 1
    refused = (await rpc.answer("eth_estimateGas", {**deep, "gas": hex(2_000_000)}))["error"]
    assert refused["code"] in (2, 3)
    refused = (await rpc.answer("eth_estimateGas", {**deep, "gas": hex(100_000)}))["error"]
    assert refused["code"] == 2
    assert "gas required exceeds allowance (100000)" in refused["message"]


async def test_legacy_transactions_are_taken(w3: AsyncWeb3[Any], wallet: Wallet) -> None:
    price = await w3.eth.gas_price
    for extra in ({"chainId": 31415926}, {}):
        receipt = await wallet.send(
            {"to": SOMEBODY, "value": 1, "gas": 3_000_000, "gasPrice": price, **extra}
        )
        assert (receipt["status"], receipt["type"]) == (1, 0)
        transaction = await w3.eth.get_transaction(receipt["transactionHash"])
        assert (transaction["gasPrice"], transaction["from"]) == (price, wallet.address)
        assert "maxFeePerGas" not in transaction


async def test_native_messages_show_as_transactions(
    devnet: Devstack, w3: AsyncWeb3[Any], rpc: RawRpc
) -> None:
    network = devnet.network
    bob = network.key("bob").address
    cid = network.send("alice", bob, value=AttoFil(3))
    await devnet.advance(2)
    digest = await rpc("EthGetTransactionHashByCid", {"/": str(cid)})
    assert digest == "0x" + cid.digest.hex()
    transaction = await w3.eth.get_transaction(digest)
    sender = await rpc("FilecoinAddressToEthAddress", str(network.key("alice").address), "latest")
    assert transaction["from"].lower() == sender
    assert sender.startswith("0xff000000")
    assert transaction["input"].hex().startswith("868e10c4")
    assert (transaction["value"], transaction["type"], transaction["r"].hex()) == (3, 2, "00")
    receipt = await w3.eth.get_transaction_receipt(digest)
    assert receipt["status"] == 1
    block = await w3.eth.get_block(receipt["blockNumber"], full_transactions=True)
    assert transaction in block["transactions"]
    assert block["gasUsed"] == sum(
        one["gasUsed"] for one in await w3.eth.get_block_receipts(receipt["blockNumber"])
    )
    back = await rpc("EthAddressToFilecoinAddress", sender)
    assert back == f"t0{network.pending_state().actor_id(network.key('alice').address)}"


async def test_blocks_are_tipsets_and_tags_mean_what_they_mean_to_lotus(
    devnet: Devstack, w3: AsyncWeb3[Any], rpc: RawRpc
) -> None:
    await devnet.node.advance_null(1)
    await devnet.advance(2)
    head = devnet.network.head
    parent = devnet.network.tipset(head.parents)
    assert await w3.eth.block_number == parent.height
    assert (await w3.eth.get_block("latest"))["number"] == parent.height
    assert (await w3.eth.get_block("pending"))["number"] == head.height
    assert (await w3.eth.get_block("finalized"))["number"] == 0
    block = await w3.eth.get_block("latest")
    assert block == await w3.eth.get_block(block["hash"])
    assert block["timestamp"] == parent.blocks[0].timestamp
    null = head.height - 2
    assert await rpc("eth_getBlockByNumber", hex(null), False) is None
    assert await rpc("eth_getBlockTransactionCountByNumber", hex(null)) is None
    refused = await rpc.answer("eth_getTransactionByBlockNumberAndIndex", hex(null), "0x0")
    assert (refused["error"]["code"], refused["error"]["data"]) == (12, null)
    assert (await w3.eth.get_block(parent.height))["parentHash"] == (
        await w3.eth.get_block(null - 1)
    )["hash"]
    alice = await rpc(
        "FilecoinAddressToEthAddress", str(devnet.network.key("alice").address), "latest"
    )
    assert await rpc("eth_getBalance", alice, hex(null)) == await rpc(
        "eth_getBalance", alice, hex(null - 1)
    )
    for name, params, why in (
        ("eth_getBlockByNumber", ["earliest", False], "not supported"),
        ("eth_getBlockByNumber", [hex(head.height), False], "requested a future epoch"),
        ("eth_getBalance", [alice, hex(10**6)], "requested a future epoch"),
        ("eth_getCode", [alice, "0x0"], "genesis"),
    ):
        error = (await rpc.answer(name, *params))["error"]
        assert error["code"] == 1
        assert why in error["message"]


async def test_fees_are_the_networks(w3: AsyncWeb3[Any], wallet: Wallet) -> None:
    await wallet.send(await wallet.transfer(SOMEBODY, 7))
    premium = await w3.eth.max_priority_fee
    assert (premium, await w3.eth.gas_price) == (100_000, 100_100)
    history = await w3.eth.fee_history(3, "latest", [0, 50, 100])
    assert history["oldestBlock"] == await w3.eth.block_number - 2
    assert history["baseFeePerGas"] == [100] * 4
    assert len(history["gasUsedRatio"]) == 3
    assert history["gasUsedRatio"][-1] > 0
    assert history["reward"] == [[premium] * 3] * 3
    with pytest.raises(Exception, match="should be larger than"):
        await w3.eth.fee_history(3, "latest", [50, 20])


async def test_a_reorg_takes_receipts_and_logs_back(
    devnet: Devstack, w3: AsyncWeb3[Any], wallet: Wallet, rpc: RawRpc
) -> None:
    counter = await wallet.deploy("Counter", 5)
    receipt = await wallet.call(counter.functions.add(3, "three"))
    watch = await rpc("eth_newFilter", {"address": counter.address, "fromBlock": "latest"})
    digest = receipt["transactionHash"].to_0x_hex()
    await devnet.reorg(depth=2)
    assert await rpc("eth_getTransactionReceipt", digest) is None
    assert (await w3.eth.get_transaction(digest))["blockNumber"] is None  # it waits again
    assert await counter.events.Counted().get_logs(from_block=0) == []
    (removed,) = await rpc("eth_getFilterChanges", watch)
    assert (removed["removed"], removed["transactionHash"]) == (True, digest)
    await devnet.advance(2)
    again = await rpc("eth_getTransactionReceipt", digest)
    assert again["blockHash"] != receipt["blockHash"].to_0x_hex()
    (log,) = await rpc("eth_getFilterChanges", watch)
    assert (log["removed"], log["blockHash"]) == (False, again["blockHash"])


async def test_filters_collect_what_is_new(devnet: Devstack, wallet: Wallet, rpc: RawRpc) -> None:
    blocks, pending = await rpc("eth_newBlockFilter"), await rpc("eth_newPendingTransactionFilter")
    logs = await rpc("eth_newFilter", {})
    counter = await wallet.deploy("Counter", 5)
    receipt = await wallet.call(counter.functions.add(3, "three"))
    assert len(await rpc("eth_getFilterChanges", blocks)) == 4
    assert len(await rpc("eth_getFilterChanges", pending)) == 2
    (log,) = await rpc("eth_getFilterLogs", logs)
    assert log["transactionHash"] == receipt["transactionHash"].to_0x_hex()
    assert await rpc("eth_getFilterChanges", logs) == []
    past = await rpc("eth_newFilter", {"fromBlock": "earliest"})
    assert await rpc("eth_getFilterChanges", past) == [log]
    assert (
        "wrong filter type" in (await rpc.answer("eth_getFilterLogs", blocks))["error"]["message"]
    )
    assert await rpc("eth_uninstallFilter", blocks) is True
    assert await rpc("eth_uninstallFilter", blocks) is False
    assert (
        "filter not found" in (await rpc.answer("eth_getFilterChanges", blocks))["error"]["message"]
    )


async def test_log_ranges_have_lotus_bounds(devnet: Devstack, rpc: RawRpc) -> None:
    await devnet.advance(3000)
    error = (await rpc.answer("eth_getLogs", {"fromBlock": "0x0"}))["error"]
    assert error["code"] == -32005
    assert await rpc("eth_getLogs", {"fromBlock": "0x1", "toBlock": hex(2881)}) == []
    head = devnet.network.head.height
    for spec, why in (
        ({"fromBlock": hex(head)}, "greater than head"),
        ({"fromBlock": "0x5", "toBlock": "0x3"}, "must be after from block"),
        ({"fromBlock": "5"}, "not a hex"),
        ({"blockHash": "0x" + "00" * 32, "fromBlock": "0x1"}, "must not specify"),
    ):
        assert why in (await rpc.answer("eth_getLogs", spec))["error"]["message"]


async def test_subscriptions_push_ethereums_notifications(
    devnet: Devstack, wallet: Wallet, rpc: RawRpc, session: aiohttp.ClientSession
) -> None:
    refused = (await rpc.answer("eth_subscribe", "newHeads"))["error"]
    assert (refused["code"], refused["message"]) == (1, "connection doesn't support callbacks")
    counter = await wallet.deploy("Counter", 5)
    url = f"ws://127.0.0.1:{devnet.api_port}/rpc/v1"
    async with session.ws_connect(url) as socket:

        async def ask(number: int, method: str, *params: Any) -> Any:
            await socket.send_json(
                {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}
            )
            answer = json.loads((await socket.receive()).data)
            assert answer["id"] == number
            return answer

        heads = (await ask(1, "eth_subscribe", "newHeads"))["result"]
        logs = (await ask(2, "eth_subscribe", "logs", {"address": counter.address}))["result"]
        waiting = (await ask(3, "eth_subscribe", "newPendingTransactions"))["result"]
        unknown = await ask(4, "eth_subscribe", "syncing")
        assert "unsupported event type" in unknown["error"]["message"]
        receipt = await wallet.call(counter.functions.add(3, "three"))
        got: dict[str, list[Any]] = {heads: [], logs: [], waiting: []}
        while not (len(got[heads]) >= 2 and got[logs] and got[waiting]):
            frame = json.loads((await socket.receive(timeout=5)).data)
            assert (frame["jsonrpc"], frame["method"]) == ("2.0", "eth_subscription")
            got[frame["params"]["subscription"]].append(frame["params"]["result"])
        digest = receipt["transactionHash"].to_0x_hex()
        assert got[waiting] == [digest]
        assert [log["transactionHash"] for log in got[logs]] == [digest]
        assert [int(head["number"], 16) for head in got[heads]] == [
            receipt["blockNumber"] - 1, receipt["blockNumber"],
        ]  # fmt: skip
        assert (await ask(5, "eth_unsubscribe", heads))["result"] is True
        assert (await ask(6, "eth_unsubscribe", heads))["result"] is False


async def test_traces_show_calls_between_contracts(
    devnet: Devstack, w3: AsyncWeb3[Any], wallet: Wallet, rpc: RawRpc
) -> None:
    factory = await wallet.deploy("Factory")
    created = await w3.eth.get_block(await w3.eth.block_number, full_transactions=True)
    created = {"transactionHash": created["transactions"][0]["hash"]}
    made = await wallet.call(factory.functions.make(3))
    digest = made["transactionHash"].to_0x_hex()
    call, create = await rpc("trace_transaction", digest)
    (event,) = factory.events.Made().process_receipt(made)
    child = event["args"]["child"]
    assert (call["type"], call["traceAddress"], call["subtraces"]) == ("call", [], 1)
    assert call["action"]["from"] == wallet.address.lower()
    assert (create["type"], create["traceAddress"]) == ("create", [0])
    assert create["result"]["address"] == child.lower()
    borrowed = await wallet.call(factory.functions.borrow(child, 5))
    _, inner = await rpc("trace_transaction", borrowed["transactionHash"].to_0x_hex())
    assert inner["action"]["callType"] == "delegatecall"
    assert inner["action"]["to"] == child.lower()
    failed = await wallet.call(factory.functions.tryAnother(child, 5))
    traces = await rpc("trace_block", hex(failed["blockNumber"]))
    assert [one["error"] for one in traces] == ["", "Reverted"]
    replayed = await rpc("trace_replayBlockTransactions", hex(failed["blockNumber"]), ["trace"])
    assert [one["trace"] for one in replayed] == [
        [{key: one[key] for key in replayed[0]["trace"][0]} for one in traces]
    ]
    wanted = {"fromBlock": "0x1", "fromAddress": [wallet.address], "toAddress": [factory.address]}
    to_factory = await rpc("trace_filter", wanted)
    assert [one["transactionHash"] for one in to_factory] == [
        receipt["transactionHash"].to_0x_hex() for receipt in (created, made, borrowed, failed)
    ]
    assert await rpc("trace_filter", {**wanted, "after": "0x1", "count": "0x2"}) == to_factory[1:3]
    limits = await rpc.answer("trace_filter", {**wanted, "count": hex(501)})
    assert "maximum supported is 500" in limits["error"]["message"]
    missing = await rpc.answer("trace_transaction", "0x" + "00" * 32)
    assert missing["error"]["message"] == "transaction not found"


async def test_a_transaction_that_the_mempool_refuses_is_refused_with_its_reason(
    w3: AsyncWeb3[Any], wallet: Wallet, rpc: RawRpc
) -> None:
    poor = Wallet(wallet.net, w3, 0x33)
    transfer = await wallet.transfer(SOMEBODY, 1)
    for sender, changes, why in (
        (poor, {}, "actor not found"),
        (wallet, {"value": 10**30}, "not enough funds"),
        (wallet, {"chainId": 1}, "expected 31415926, got 1"),
        (wallet, {"gas": 21_000}, "GasLimit"),
    ):
        signed = sender.account.sign_transaction({**transfer, "nonce": 0, **changes})
        answer = await rpc.answer("eth_sendRawTransaction", signed.raw_transaction.to_0x_hex())
        assert answer["error"]["code"] == 1
        assert why in answer["error"]["message"]
    await wallet.push(transfer)
    bumped = {**transfer, "nonce": 0, "value": 2}
    low = wallet.account.sign_transaction(bumped)
    refused = await rpc.answer("eth_sendRawTransaction", low.raw_transaction.to_0x_hex())
    assert "replace by fee has too low GasPremium" in refused["error"]["message"]


async def test_wallet_verify_knows_delegated_signatures(rpc: RawRpc) -> None:
    key = Secp256k1Key(b"\x11" * 32)
    data = base64.b64encode(key.sign_digest(keccak256(b"to sign"))).decode()
    text = base64.b64encode(b"to sign").decode()
    signature = {"Type": 3, "Data": data}
    assert await rpc("WalletVerify", str(key.delegated_address), text, signature) is True
    other = Secp256k1Key(b"\x12" * 32).delegated_address
    assert "error" in await rpc.answer("WalletVerify", str(other), text, signature)
