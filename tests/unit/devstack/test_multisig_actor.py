from __future__ import annotations

import pytest

from devstack.chain.actors.multisig import locked_amount
from devstack.chain.machine import Exit
from lotus_client.actors import multisig as wire
from lotus_client.actors.methods import InitMethod
from lotus_client.actors.methods import MultisigMethod as Method
from lotus_client.actors.system import CreatedActor, ExecParams
from lotus_client.address import Address
from lotus_client.types import AttoFil
from tests.unit.devstack.direct import Direct
from tests.unit.devstack.test_actor_dispatch import MULTISIG_CODE


class Wallet:
    """A multisig of alice, bob and carol."""

    def __init__(self, threshold: int = 2, value: int = 1000, duration: int = 0) -> None:
        self.chain = Direct()
        signers = tuple(self.chain.key(name).address for name in ("alice", "bob", "carol"))
        start = self.chain.epoch
        made = self.make(wire.ConstructorParams(signers, threshold, duration, start), value)
        self.id = CreatedActor.from_cbor(made.return_).id_address.actor_id
        self.address = Address.of_id(self.id)

    def make(self, constructor: wire.ConstructorParams, value: int = 0):  # type: ignore[no-untyped-def]
        params = ExecParams(MULTISIG_CODE, constructor.to_cbor()).to_cbor()
        return self.chain.call("alice", 1, InitMethod.EXEC, params, value)

    @property
    def state(self):  # type: ignore[no-untyped-def]
        return self.chain.state(self.id)

    def propose(self, who: str, to: Address, method: int, params: bytes = b"", value: int = 0):  # type: ignore[no-untyped-def]
        call = wire.ProposeParams(to, AttoFil(value), method, params).to_cbor()
        return self.chain.call(who, self.id, Method.PROPOSE, call)

    def approve(self, who: str, txn: int, proposal_hash: bytes = b""):  # type: ignore[no-untyped-def]
        params = wire.TxnIdParams(txn, proposal_hash).to_cbor()
        return self.chain.call(who, self.id, Method.APPROVE, params)

    def cancel(self, who: str, txn: int, proposal_hash: bytes = b""):  # type: ignore[no-untyped-def]
        params = wire.TxnIdParams(txn, proposal_hash).to_cbor()
        return self.chain.call(who, self.id, Method.CANCEL, params)

    def own(self, method: int, params: bytes) -> int:
        """Change the multisig by a proposal of alice and bob; the inner exit code."""
        sent = self.propose("alice", self.address, method, params)
        answer = wire.ProposeReturn.from_cbor(sent.return_)
        if answer.applied:
            return answer.exit_code
        approved = self.approve("bob", answer.txn_id)
        return wire.ApproveReturn.from_cbor(approved.return_).exit_code


@pytest.mark.parametrize(
    ("names", "threshold", "duration"),
    [
        ((), 1, 0),
        (("alice", "alice"), 1, 0),
        (("alice",), 0, 0),
        (("alice",), 2, 0),
        (("alice",), 1, -1),
    ],
)
def test_a_wrong_constructor_is_an_illegal_argument(
    names: tuple[str, ...], threshold: int, duration: int
) -> None:
    wallet = Wallet()
    signers = tuple(wallet.chain.key(name).address for name in names)
    sent = wallet.make(wire.ConstructorParams(signers, threshold, duration, 0))
    assert sent.exit_code == Exit.ILLEGAL_ARGUMENT


def test_nobody_but_init_constructs() -> None:
    wallet = Wallet()
    params = wire.ConstructorParams((wallet.chain.key("dave").address,), 1).to_cbor()
    sent = wallet.chain.call("alice", wallet.id, Method.CONSTRUCTOR, params)
    assert sent.exit_code == Exit.FORBIDDEN


def test_two_of_three_move_money_and_each_says_what_happened() -> None:
    wallet = Wallet()
    dave = wallet.chain.id("dave")
    before = wallet.chain.balance(dave.actor_id)
    proposed = wallet.propose("alice", dave, 0, value=300)
    assert proposed.return_.hex() == "8400f40040"
    assert wallet.approve("bob", 0).return_.hex() == "83f50040"
    assert wallet.chain.balance(dave.actor_id) == before + 300
    assert not wallet.state.pending
    wallet.chain.sound()


def test_strangers_second_approvals_and_unknown_calls_are_refused() -> None:
    wallet = Wallet()
    dave = wallet.chain.id("dave")
    assert wallet.propose("dave", dave, 0).exit_code == Exit.FORBIDDEN
    assert wallet.propose("alice", dave, 0, value=-1).exit_code == Exit.ILLEGAL_ARGUMENT
    wallet.propose("alice", dave, 0, value=1)
    assert wallet.approve("dave", 0).exit_code == Exit.FORBIDDEN
    assert wallet.approve("alice", 0).exit_code == Exit.FORBIDDEN
    assert wallet.approve("bob", 7).exit_code == Exit.NOT_FOUND
    assert wallet.cancel("bob", 7).exit_code == Exit.NOT_FOUND
    assert wallet.cancel("dave", 0).exit_code == Exit.FORBIDDEN


def test_a_proposal_hash_must_be_that_of_the_proposal() -> None:
    wallet = Wallet()
    dave = wallet.chain.key("dave").address  # kept in the form that was written
    wallet.propose("alice", dave, 0, value=1)
    call = wire.ProposeParams(dave, AttoFil(1), 0, b"")
    right = wire.proposal_hash(wallet.chain.id("alice"), call)
    assert wallet.approve("bob", 0, b"x" * 32).exit_code == Exit.ILLEGAL_ARGUMENT
    assert wallet.cancel("alice", 0, b"x" * 32).exit_code == Exit.ILLEGAL_STATE
    assert wallet.approve("bob", 0, right).exit_code == 0
    other = wire.ProposeParams(wallet.chain.id("dave"), AttoFil(1), 0, b"")
    assert wire.proposal_hash(wallet.chain.id("alice"), other) != right


def test_only_the_proposer_cancels() -> None:
    wallet = Wallet()
    wallet.propose("alice", wallet.chain.id("dave"), 0, value=1)
    assert wallet.cancel("bob", 0).exit_code == Exit.FORBIDDEN
    assert wallet.cancel("alice", 0).exit_code == 0
    assert wallet.approve("bob", 0).exit_code == Exit.NOT_FOUND


def test_a_failing_inner_call_shows_only_in_the_return() -> None:
    wallet = Wallet(threshold=1)
    sent = wallet.propose("alice", Address.of_id(7), 1)
    answer = wire.ProposeReturn.from_cbor(sent.return_)
    assert (sent.exit_code, answer.applied, answer.exit_code) == (0, True, Exit.UNHANDLED)


def test_a_call_of_nobody_surfaces_as_unspecified() -> None:
    wallet = Wallet(threshold=1)
    sent = wallet.propose("alice", Address.of_actor_data(b"nobody"), 0)
    assert wire.ProposeReturn.from_cbor(sent.return_).exit_code == Exit.UNSPECIFIED


def test_more_than_the_balance_fails_the_whole_message() -> None:
    wallet = Wallet(threshold=1, value=100)
    sent = wallet.propose("alice", wallet.chain.id("dave"), 0, value=101)
    assert sent.exit_code == Exit.INSUFFICIENT_FUNDS
    assert wallet.state.next_txn == 0


def test_the_locked_part_cannot_be_spent_and_falls_linearly() -> None:
    wallet = Wallet(threshold=1, value=1000, duration=100)
    dave, start = wallet.chain.id("dave"), wallet.chain.epoch
    assert wallet.propose("alice", dave, 0, value=1).exit_code == Exit.INSUFFICIENT_FUNDS
    wallet.chain.at(start + 33)
    assert locked_amount(wallet.state, start + 33) == 670
    assert wallet.propose("alice", dave, 0, value=331).exit_code == Exit.INSUFFICIENT_FUNDS
    assert wallet.propose("alice", dave, 0, value=330).exit_code == 0
    wallet.chain.at(start + 100)
    assert wallet.propose("alice", dave, 0, value=670).exit_code == 0


def test_only_the_multisig_itself_changes_its_signers() -> None:
    wallet = Wallet()
    dave = wallet.chain.id("dave")
    for method, params in (
        (Method.ADD_SIGNER, wire.AddSignerParams(dave, change=False)),
        (Method.REMOVE_SIGNER, wire.RemoveSignerParams(dave, change=False)),
        (Method.SWAP_SIGNER, wire.SwapSignerParams(dave, dave)),
        (Method.CHANGE_THRESHOLD, wire.ChangeThresholdParams(1)),
        (Method.LOCK_BALANCE, wire.LockBalanceParams(0, 10, AttoFil(1))),
    ):
        sent = wallet.chain.call("alice", wallet.id, method, params.to_cbor())
        assert sent.exit_code == Exit.FORBIDDEN


def test_a_signer_is_added_once_and_may_raise_the_threshold() -> None:
    wallet = Wallet()
    dave = wallet.chain.key("dave").address
    assert wallet.own(Method.ADD_SIGNER, wire.AddSignerParams(dave, change=True).to_cbor()) == 0
    assert (wallet.state.signers[-1], wallet.state.threshold) == (wallet.chain.ids["dave"], 3)
    wallet = Wallet()
    again = wire.AddSignerParams(wallet.chain.id("bob"), change=False).to_cbor()
    assert wallet.own(Method.ADD_SIGNER, again) == Exit.FORBIDDEN


def test_a_removed_signer_takes_its_approvals_with_it() -> None:
    wallet = Wallet()
    wallet.propose("carol", wallet.chain.id("dave"), 0, value=1)
    carol = wire.RemoveSignerParams(wallet.chain.id("carol"), change=False).to_cbor()
    assert wallet.own(Method.REMOVE_SIGNER, carol) == 0
    assert 0 not in wallet.state.pending  # nobody approved it any more
    assert wallet.state.signers == (wallet.chain.ids["alice"], wallet.chain.ids["bob"])
    bob = wire.RemoveSignerParams(wallet.chain.id("bob"), change=False).to_cbor()
    assert wallet.own(Method.REMOVE_SIGNER, bob) == Exit.ILLEGAL_ARGUMENT  # below the threshold
    assert wallet.own(Method.REMOVE_SIGNER, carol) == Exit.FORBIDDEN  # no signer any more
    lower = wire.RemoveSignerParams(wallet.chain.id("bob"), change=True).to_cbor()
    assert wallet.own(Method.REMOVE_SIGNER, lower) == 0
    assert wallet.state.threshold == 1
    last = wire.RemoveSignerParams(wallet.chain.id("alice"), change=False).to_cbor()
    assert wallet.own(Method.REMOVE_SIGNER, last) == Exit.FORBIDDEN


def test_a_swap_puts_the_new_signer_in_the_place_of_the_old() -> None:
    wallet = Wallet()
    chain = wallet.chain
    swap = wire.SwapSignerParams(chain.id("carol"), chain.id("dave")).to_cbor()
    assert wallet.own(Method.SWAP_SIGNER, swap) == 0
    assert wallet.state.signers == (chain.ids["alice"], chain.ids["bob"], chain.ids["dave"])
    assert wallet.own(Method.SWAP_SIGNER, swap) == Exit.FORBIDDEN
    taken = wire.SwapSignerParams(chain.id("bob"), chain.id("dave")).to_cbor()
    assert wallet.own(Method.SWAP_SIGNER, taken) == Exit.ILLEGAL_ARGUMENT


def test_a_lowered_threshold_lets_the_next_approver_execute_without_being_added() -> None:
    wallet = Wallet()
    dave = wallet.chain.id("dave")
    wallet.propose("carol", dave, 0, value=5)
    one = wire.ChangeThresholdParams(1).to_cbor()
    assert wallet.own(Method.CHANGE_THRESHOLD, one) == 0
    answer = wire.ApproveReturn.from_cbor(wallet.approve("carol", 0).return_)
    assert answer.applied
    for bad in (0, 4):
        code = wallet.own(Method.CHANGE_THRESHOLD, wire.ChangeThresholdParams(bad).to_cbor())
        assert code == Exit.ILLEGAL_ARGUMENT


def test_a_balance_is_locked_once() -> None:
    wallet = Wallet(threshold=1)
    start = wallet.chain.epoch
    for bad in ((start, 0, 1), (start, 10, -1)):
        params = wire.LockBalanceParams(*bad[:2], AttoFil(bad[2])).to_cbor()
        assert wallet.own(Method.LOCK_BALANCE, params) == Exit.ILLEGAL_ARGUMENT
    params = wire.LockBalanceParams(start, 10, AttoFil(1000)).to_cbor()
    assert wallet.own(Method.LOCK_BALANCE, params) == 0
    assert wallet.own(Method.LOCK_BALANCE, params) == Exit.FORBIDDEN
    sent = wallet.propose("alice", wallet.chain.id("dave"), 0, value=1)
    assert sent.exit_code == Exit.INSUFFICIENT_FUNDS
