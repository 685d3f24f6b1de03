"""The provider's own rules: the last word before a run. Pure: facts in, one finding for every rule out.

A piece in no dataset cannot be computed over. Policy can refuse what approvers signed, never the reverse.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from fil_plus.bundle import Bundle, Engine
from fil_plus.pieces import HeldPiece
from lotus_client.cid import Cid
from sp_plugin.config import (
    DatasetConfig,
    EarningsConfig,
    JobsConfig,
    PolicyConfig,
)
from sp_plugin.inputs.base import PieceRef

__all__ = [
    "InputFacts",
    "PolicyDecision",
    "PolicyFinding",
    "PolicyRules",
    "datasets_of",
    "decide_policy",
]

_PIECE_SOURCES = frozenset(
    {"filecoin", "ipfs"}
)  # their bytes must lie in a held piece of a dataset


@dataclass(frozen=True, slots=True)
class InputFacts:
    """What is known of one input: the held piece or sub-piece it comes from, if any, and the datasets that name it."""

    source: str
    cid: Cid
    piece: HeldPiece | PieceRef | None
    datasets: tuple[DatasetConfig, ...]


@dataclass(frozen=True, slots=True)
class PolicyRules:
    """The sections of the config that policy reads."""

    policy: PolicyConfig
    jobs: JobsConfig
    earnings: EarningsConfig


@dataclass(frozen=True, slots=True)
class PolicyFinding:
    """One rule, whether it is kept, and what was compared."""

    rule: str
    kept: bool
    detail: str


@dataclass(frozen=True, slots=True)
class PolicyDecision:
    """Every rule with its outcome; the job may run if all are kept."""

    findings: tuple[PolicyFinding, ...]

    @property
    def allowed(self) -> bool:
        """Whether no rule forbids the run."""
        return all(finding.kept for finding in self.findings)

    @property
    def refusals(self) -> tuple[PolicyFinding, ...]:
        """The rules that forbid it."""
        return tuple(finding for finding in self.findings if not finding.kept)


def datasets_of(
    piece: HeldPiece,
    datasets: Iterable[DatasetConfig],
    roots: Iterable[Cid] = (),
    names: Iterable[Cid] = (),
) -> tuple[DatasetConfig, ...]:
    """The datasets that a held piece belongs to; `roots` are the CAR roots it is known to hold.

    Of a sub-piece `piece` is the one around it, whose datasets are the sub-piece's too, and `roots` and `names` are its own.
    """
    held_roots, called = frozenset(roots), frozenset((piece.piece_cid, *names))
    return tuple(
        dataset
        for dataset in datasets
        if piece.client in dataset.selector.clients
        or not called.isdisjoint(dataset.selector.pieces)
        or (piece.provenance.kind == "claim" and piece.provenance.id in dataset.selector.claims)
        or not held_roots.isdisjoint(dataset.selector.roots)
    )


def decide_policy(
    bundle: Bundle, inputs: Sequence[InputFacts], rules: PolicyRules, dataset: str | None = None
) -> PolicyDecision:
    """Whether the bundle may run here. `dataset` is the one the job names, if it names one."""
    return PolicyDecision(
        (
            *_program(bundle, rules),
            *_inputs(inputs, rules, dataset),
            *_limits(bundle, rules.jobs),
            *_outputs(bundle, rules.jobs),
            *_terms(bundle, inputs, rules),
        )
    )


def _program(bundle: Bundle, rules: PolicyRules) -> Iterator[PolicyFinding]:
    policy = rules.policy
    enabled = bundle.engine != Engine.DOCKER or rules.jobs.docker.enabled
    yield PolicyFinding(
        "engine",
        bundle.engine in policy.allowed_engines and enabled,
        f"{bundle.engine}; allowed: {', '.join(policy.allowed_engines)}"
        + ("" if enabled else "; jobs.docker.enabled is false"),
    )
    program = bundle.module_sha256 or bundle.image or ""
    denied = [entry for entry in policy.deny_modules if entry and entry in program]
    yield PolicyFinding(
        "program",
        not denied,
        f"{program} is on deny_modules" if denied else f"{program} is not denied",
    )
    yield PolicyFinding(
        "network",
        bundle.network_access == "none",
        f"{bundle.network_access}; jobs have no network here",
    )
    denied_payee = bundle.payee is not None and bundle.payee in policy.deny_payees
    yield PolicyFinding("payee", not denied_payee, f"{bundle.payee or 'nobody'} is paid")


def _inputs(
    inputs: Sequence[InputFacts], rules: PolicyRules, wanted: str | None
) -> Iterator[PolicyFinding]:
    policy = rules.policy
    yield PolicyFinding(
        "inputs", len(inputs) <= policy.max_inputs, f"{len(inputs)} of at most {policy.max_inputs}"
    )
    pieces = {facts.piece.key: facts.piece.padded_size for facts in inputs if facts.piece}
    size = sum(pieces.values())
    yield PolicyFinding(
        "input-bytes", size <= policy.max_input_bytes, f"{size} of at most {policy.max_input_bytes}"
    )
    for facts in inputs:
        yield from _one_input(facts, rules, wanted)


def _one_input(
    facts: InputFacts, rules: PolicyRules, wanted: str | None
) -> Iterator[PolicyFinding]:
    policy = rules.policy
    name = f"{facts.source} {facts.cid}"
    allowed = {source.casefold() for source in policy.allowed_sources}
    if facts.source.casefold() not in allowed:
        detail = f"{name}; allowed: {', '.join(policy.allowed_sources)}"
        yield PolicyFinding("source", kept=False, detail=detail)
        return
    if facts.source not in _PIECE_SOURCES:
        yield PolicyFinding("source", kept=True, detail=f"{name} needs no piece")
        return
    if facts.piece is None and facts.source == "ipfs" and rules.jobs.fetch.gateways:
        detail = f"{name} is not held by this provider; it comes from a gateway, block by block"
        yield PolicyFinding("held", kept=True, detail=detail)
        return
    if facts.piece is None:
        yield PolicyFinding("held", kept=False, detail=f"{name} is not held by this provider")
        return
    names = [dataset.name for dataset in facts.datasets]
    if not names:
        yield PolicyFinding("dataset", kept=False, detail=f"{name} is in no dataset")
        return
    used = [dataset for dataset in facts.datasets if wanted in (None, dataset.name)]
    if not used:
        yield PolicyFinding(
            "dataset", kept=False, detail=f"{name} is in {', '.join(names)}, not in {wanted}"
        )
        return
    yield PolicyFinding("dataset", kept=True, detail=f"{name} is in {', '.join(names)}")
    yield PolicyFinding(
        "consent",
        all(dataset.consent == "public" for dataset in used),
        f"{name}: " + ", ".join(_consent(dataset) for dataset in used),
    )


def _consent(dataset: DatasetConfig) -> str:
    if dataset.consent == "owner-signed":
        return (
            f"{dataset.name} needs its owner's signature, which cannot be checked yet: "
            "nothing may compute over it"
        )
    return f"{dataset.name} has consent {dataset.consent}"


def _limits(bundle: Bundle, jobs: JobsConfig) -> Iterator[PolicyFinding]:
    most = jobs.docker if bundle.engine == Engine.DOCKER else jobs.wasm
    for rule, asked, allowed in (
        ("memory", bundle.limits.memory_bytes, most.memory_bytes),
        ("time", bundle.limits.timeout_seconds, most.wall_seconds),
        ("disk", bundle.limits.disk_bytes, most.output_bytes),
    ):
        yield PolicyFinding(rule, asked <= allowed, f"{asked} of at most {allowed}")
    if bundle.limits.gpus:
        gpus = jobs.docker.gpus if bundle.engine == Engine.DOCKER else 0
        said = f"{bundle.limits.gpus} of at most {gpus}"
        yield PolicyFinding("gpus", bundle.limits.gpus <= gpus, said)


def _outputs(bundle: Bundle, jobs: JobsConfig) -> Iterator[PolicyFinding]:
    for publisher in sorted({output.publisher for output in bundle.outputs}):
        yield PolicyFinding(
            "publisher",
            publisher in jobs.allowed_publishers,
            f"{publisher}; allowed: {', '.join(jobs.allowed_publishers)}",
        )


def _terms(
    bundle: Bundle, inputs: Sequence[InputFacts], rules: PolicyRules
) -> Iterator[PolicyFinding]:
    """The shares in the bundle against what this provider, and each dataset used, gives at most."""
    terms, earnings = bundle.terms, rules.earnings
    yield PolicyFinding(
        "basis",
        terms.basis == earnings.basis,
        f"{terms.basis}; this provider offers {earnings.basis}",
    )
    bounds = {dataset.name: dataset.share_terms for facts in inputs for dataset in facts.datasets}
    for rule, asked, most in (
        ("output_bps", terms.output_bps, earnings.output_bps),
        ("input_bps", terms.input_bps, earnings.input_bps),
    ):
        lower = [
            bound for terms_ in bounds.values() if (bound := getattr(terms_, rule)) is not None
        ]
        allowed = min([most, *lower])
        yield PolicyFinding(rule, asked <= allowed, f"{asked} of at most {allowed} basis points")
    yield PolicyFinding(
        "max_share_bps",
        terms.max_share_bps <= earnings.max_share_bps,
        f"{terms.max_share_bps} of at most {earnings.max_share_bps} basis points",
    )
    yield PolicyFinding(
        "budget",
        terms.budget <= earnings.fixed_budget_fil,
        f"{terms.budget.to_fil()} of at most {earnings.fixed_budget_fil.to_fil()} FIL",
    )
