"""The keys about earnings and payouts."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from fil_plus.terms import Basis
from lotus_client.types import AttoFil
from sp_plugin.config.fields import (
    AddressField,
    Amount,
    Bps,
    Count,
    Flag,
    PositiveCount,
    SecretFileField,
    Section,
    wrong,
)

__all__ = ["EarningsConfig", "PayoutsConfig", "SignerConfig"]


class EarningsConfig(Section):
    """How rewards become shares: the terms offered to new bundles."""

    basis: Basis = Field(
        default=Basis.VERIFIED_EXTRA, description="verified_extra, qap_share or fixed_budget"
    )
    fixed_budget_fil: Amount = Field(
        default=AttoFil(0), description="FIL for each job under fixed_budget, and only there"
    )
    fixed_budget_epochs: Count = Field(
        default=0, description="epochs over which the budget comes due; 0 is at the first win"
    )
    output_bps: Bps = Field(
        default=1000, description="basis points for the author of the job whose output the piece is"
    )
    input_bps: Bps = Field(
        default=0, description="basis points for jobs that used the piece: a voluntary bonus"
    )
    max_share_bps: Bps = Field(default=2000, description="basis points, output and input together")
    include_tips: Flag = Field(default=False, description="share gas tips as well")
    capital_cost_apr_bps: Count | None = Field(
        default=None,
        description="yearly cost of pledge in basis points; verified_extra needs it, 0 is allowed and shown",
        examples=[800],
    )
    input_window_epochs: PositiveCount = Field(
        default=86_400, description="how long a use of a piece counts for input_bps"
    )

    @model_validator(mode="after")
    def _terms_add_up(self) -> Self:
        if self.output_bps + self.input_bps > self.max_share_bps:
            raise wrong("output_bps", "output_bps + input_bps must not exceed max_share_bps")
        if self.basis is not Basis.FIXED_BUDGET and self.fixed_budget_fil:
            raise wrong("fixed_budget_fil", f"belongs to basis fixed_budget, not to {self.basis}")
        if self.basis is Basis.VERIFIED_EXTRA and self.capital_cost_apr_bps is None:
            raise wrong(
                "capital_cost_apr_bps",
                "is required for basis verified_extra: the yearly cost of pledge in basis points "
                "(0 is allowed and printed on every statement)",
            )
        return self


class SignerConfig(Section):
    """What holds the payout key."""

    api_info_file: SecretFileField | None = Field(
        default=None,
        description="API info of a lotus-wallet that holds only the payout key (recommended)",
    )
    key_file: SecretFileField | None = Field(
        default=None,
        description="file with a secp256k1 key as 64 hex digits: for tests and local networks",
    )

    @model_validator(mode="after")
    def _at_most_one(self) -> Self:
        if self.api_info_file is not None and self.key_file is not None:
            raise wrong(
                "key_file", "the signer is already named by api_info_file; keep one of them"
            )
        return self


class PayoutsConfig(Section):
    """Sending money. Off until switched on, and a dry run until that is switched off too."""

    enabled: Flag = Field(default=False, description="plan and send payouts")
    dry_run: Flag = Field(default=True, description="show what would be sent, sign nothing")
    wallet: AddressField | None = Field(
        default=None, description="f1 or f3 address that pays", examples=[None]
    )
    signer: SignerConfig = Field(default=SignerConfig(), description="what signs for the wallet")
    require_approval: Flag = Field(
        default=True, description="a person runs `payouts approve` before any signing"
    )
    minimum_payout_fil: Amount = Field(
        default=AttoFil(10**17), description="FIL; smaller balances wait, they are never forfeited"
    )
    max_fee_fil: Amount = Field(
        default=AttoFil(5 * 10**16), description="FIL of gas one message may cost"
    )
    max_per_payout_fil: Amount = Field(
        default=AttoFil(100 * 10**18), description="FIL in one message"
    )
    max_per_day_fil: Amount = Field(
        default=AttoFil(500 * 10**18), description="FIL sent in one day"
    )
    max_per_payee_per_day_fil: Amount = Field(
        default=AttoFil(100 * 10**18), description="FIL sent to one payee in one day"
    )
    max_float_fil: Amount = Field(
        default=AttoFil(1000 * 10**18),
        description="FIL the wallet should hold at most; more is warned of in the log and in readyz",
    )
    allow_shared_wallet: Flag = Field(
        default=False,
        description="pay although the signer also holds owner, worker or control keys",
    )

    @model_validator(mode="after")
    def _can_send(self) -> Self:
        if self.enabled and self.wallet is None:
            raise wrong("wallet", "is required when payouts are enabled: the address that pays")
        signer = self.signer
        if self.enabled and not self.dry_run and signer.api_info_file is signer.key_file is None:
            raise wrong(
                "signer", "name api_info_file (recommended) or key_file, or keep dry_run: true"
            )
        return self
