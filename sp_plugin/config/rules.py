"""The keys about what may be computed over, who must agree, and what policy refuses."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from sp_plugin.config.fields import (
    ActorIdField,
    AddressField,
    Bps,
    CidField,
    Count,
    PathField,
    PositiveCount,
    Section,
    Text,
    wrong,
)

__all__ = [
    "ApprovalsConfig",
    "ApproverConfig",
    "DatasetConfig",
    "DatasetSelector",
    "PolicyConfig",
    "ShareTerms",
]

_GIB = 1 << 30


class ShareTerms(Section):
    """What jobs over a dataset may earn, at most; the approved bundle holds the terms that count."""

    output_bps: Bps | None = Field(
        default=None, description="basis points; null as in earnings.output_bps"
    )
    input_bps: Bps | None = Field(
        default=None, description="basis points; null as in earnings.input_bps"
    )


class DatasetSelector(Section):
    """Which held pieces belong to a dataset: any of the lists naming a piece is enough."""

    clients: tuple[ActorIdField, ...] = Field(
        default=(),
        description="ids (f0…) of clients whose claims and deals belong to it",
        examples=[["f01234"]],
    )
    claims: tuple[Count, ...] = Field(default=(), description="claim ids", examples=[[]])
    pieces: tuple[CidField, ...] = Field(
        default=(),
        description="piece CIDs (baga…) of held pieces, or of pieces inside them",
        examples=[[]],
    )
    roots: tuple[CidField, ...] = Field(
        default=(), description="CAR roots inside the pieces", examples=[[]]
    )

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if not (self.clients or self.claims or self.pieces or self.roots):
            raise wrong("", "selects nothing: name clients, claims, pieces or roots")
        return self


class DatasetConfig(Section):
    """Data that jobs may compute over. A piece in no dataset cannot be computed over."""

    name: Text = Field(
        description="the name jobs use in Meta filecoin.dataset", examples=["quakes"]
    )
    licence: Text = Field(description="SPDX id or name of the data's licence", examples=["CC0-1.0"])
    steward: Text = Field(description="who answers for the data", examples=["Open Data Trust"])
    consent: Literal["public", "owner-signed", "none"] = Field(
        description="whether computing over it is agreed to: public; owner-signed and none both refuse "
        "(an owner's signature cannot be checked yet)",
        examples=["public"],
    )
    selector: DatasetSelector = Field(description="which held pieces")
    share_terms: ShareTerms = Field(
        default=ShareTerms(), description="upper bounds for this dataset"
    )


class ApproverConfig(Section):
    """A key whose signature counts."""

    name: Text = Field(
        description="for people", examples=["Ada, steward of quakes", "Ben, allocator"]
    )
    address: AddressField = Field(
        description="f1 or f3 key address (nobody holds the keys of these examples)",
        examples=[
            "f1n3ts562ht4xeeneo7lkmhaxbfqvqha4dh3i636q",
            "f1hs3253fbld2lnmyafyh7cpp6dspitteowo4zsyy",
        ],
    )
    roles: tuple[Text, ...] = Field(
        description="e.g. steward, allocator, operator", examples=[["steward"], ["allocator"]]
    )


class ApprovalsConfig(Section):
    """Who must sign a job before it runs."""

    k: PositiveCount = Field(default=2, description="distinct approvers needed for one bundle")
    valid_for_epochs: PositiveCount = Field(
        default=86_400, description="epochs from its submission in which a job may start: 30 days"
    )
    required_roles: tuple[Text, ...] = Field(
        default=(), description="roles of which at least one signature each is needed"
    )
    approvers: tuple[ApproverConfig, ...] = Field(default=(), description="the keys that count")

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        addresses = [approver.address for approver in self.approvers]
        for position, address in enumerate(addresses):
            if address in addresses[:position]:
                raise wrong(f"approvers.{position}.address", "stands twice among the approvers")
        if self.approvers and self.k > len(self.approvers):
            raise wrong(
                "k", f"{self.k} approvals can never come from {len(self.approvers)} approvers"
            )
        held = {role for approver in self.approvers for role in approver.roles}
        if missing := [role for role in self.required_roles if role not in held]:
            raise wrong("required_roles", f"no approver has the role {missing[0]!r}")
        return self


class PolicyConfig(Section):
    """The last word before a run: policy can refuse what approvers signed, never the reverse."""

    allowed_engines: tuple[Text, ...] = Field(
        default=("wasm", "docker"), description="engines that may run here"
    )
    allowed_sources: tuple[Text, ...] = Field(
        default=("filecoin", "ipfs", "inline", "localDirectory"),
        description="input sources that jobs may name; urlDownload is one more. Any but filecoin and ipfs bring bytes of no held piece",
    )
    max_inputs: PositiveCount = Field(default=64, description="input sources of one job")
    max_input_bytes: PositiveCount = Field(
        default=64 * _GIB, description="padded bytes of all pieces of one job"
    )
    deny_payees: tuple[AddressField, ...] = Field(
        default=(), description="addresses that get no jobs run"
    )
    deny_modules: tuple[Text, ...] = Field(
        default=(), description="sha256 of modules, or image digests, that never run"
    )
    denylists: tuple[PathField, ...] = Field(
        default=(),
        description="files in the compact .deny format (badbits); what is on them is neither mounted nor published",
    )
