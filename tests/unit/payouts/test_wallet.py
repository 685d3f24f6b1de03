"""The payout wallet: money that arrives, and the file of its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from lotus_client.address import Address
from lotus_client.crypto import Secp256k1Key
from lotus_client.types import AttoFil
from sp_plugin.ledger import PAYOUT_WALLET
from sp_plugin.payouts.signer import KeySigner
from tests.money_fixtures import Money


async def test_money_that_arrives_is_a_funding_entry_with_its_message(money: Money) -> None:
    sent = money.chain.send(Address.of_id(1234), money.wallet, 777, nonce=0)
    for _ in range(8):
        money.chain.mine()
    report = await money.funding().step()
    [draft] = report.funded
    assert draft.refs[0].value == str(sent.cid)
    assert [p.amount for p in draft.postings if p.account == PAYOUT_WALLET] == [AttoFil(777)]
    assert (await money.funding().step()).funded == ()
    assert (await money.check()).problems == ()


async def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    from sp_plugin.payouts.signer import SignerError

    path = tmp_path / "key"
    path.write_text("11" * 32)
    path.chmod(0o644)
    with pytest.raises(SignerError, match="chmod 600"):
        KeySigner.from_file(path)
    path.chmod(0o600)
    assert KeySigner.from_file(path).address == Secp256k1Key(bytes.fromhex("11" * 32)).address
