"""Nothing new is signed while two nodes tell different things; what is signed already goes on."""

from __future__ import annotations

from lotus_client.address import Address
from sp_plugin.payouts.states import PayoutState
from tests.money_fixtures import PAYEE, PAYEE_TWO, Money


class Nodes:
    """Says why two nodes do not agree, and counts how often it was asked."""

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        self.asked: list[Address] = []

    async def __call__(self, wallet: Address) -> str:
        self.asked.append(wallet)
        return self.reason


async def test_nodes_that_disagree_hold_what_is_not_signed_yet_and_raise_an_alert(
    money: Money,
) -> None:
    await money.owe(PAYEE, 5_000)
    await money.approve()
    nodes = Nodes("two nodes disagree about the genesis: a and b")
    report = await money.sender(agreement=nodes).step()
    assert (report.signed, report.pushed) == ([], [])
    assert "disagree about the genesis" in report.stopped
    assert money.chain.pool == {}
    [(event, text)] = money.alerts
    assert event == "nodes_disagree"
    assert "nothing is signed" in text
    [payout] = await money.payouts.payouts()
    assert payout.state is PayoutState.APPROVED
    nodes.reason = ""
    assert len((await money.sender(agreement=nodes).step()).signed) == 1
    assert nodes.asked == [money.wallet, money.wallet]


async def test_bytes_that_are_signed_are_pushed_also_while_nodes_disagree(money: Money) -> None:
    await money.owe(PAYEE, 5_000)
    await money.approve()
    await money.sender().step()
    [nonce] = money.chain.pool
    money.chain.pool.clear()  # the node was restarted and forgot
    await money.owe(PAYEE_TWO, 7_000)
    await money.approve()
    report = await money.sender(agreement=Nodes("they disagree")).step()
    assert list(money.chain.pool) == [nonce]
    assert len(report.pushed) == 1
    assert report.signed == []


async def test_nodes_are_not_compared_while_nothing_is_to_be_signed(money: Money) -> None:
    nodes = Nodes("they disagree")
    report = await money.sender(agreement=nodes).step()
    assert (report.stopped, nodes.asked) == ("", [])
    await money.owe(PAYEE, 5_000)
    await money.approve()
    await money.sender(enabled=False, agreement=nodes).step()
    assert nodes.asked == []
    assert money.chain.balance(PAYEE) == 0
