"""What a valid configuration still leaves open, for `config check` and `doctor`."""

from __future__ import annotations

from collections.abc import Iterator

from fil_plus.terms import Basis
from sp_plugin.config.sections import Config

__all__ = ["config_notes"]


def config_notes(config: Config) -> Iterator[str]:
    """One sentence for each thing an operator may not have meant."""
    if not config.datasets:
        yield "datasets is empty: no piece can be computed over"
    if not config.approvals.approvers:
        yield "approvals.approvers is empty: no job can be approved"
    if config.jobs.enabled and config.guard.host_role is None:
        yield (
            "guard.host_role is not given: this host is taken for the prover, and jobs stand still while proofs are due; "
            "say sealer, storage or compute if WindowPoSts are computed elsewhere"
        )
    if not config.provider.storage_paths and not config.provider.sources:
        yield "provider.storage_paths is empty: no piece can be read"
    if config.http.host not in ("127.0.0.1", "::1", "localhost"):
        yield f"http.host {config.http.host} can be reached from other machines: put TLS in front"
    if config.http.anonymous_scopes:
        scopes = ", ".join(config.http.anonymous_scopes)
        yield f"http.anonymous_scopes lets everybody who reaches the port: {scopes}"
    if config.node.allow_admin_token:
        yield "node.allow_admin_token is on: the sidecar could be made to move the node's keys"
    downloads = "urldownload" in (source.casefold() for source in config.policy.allowed_sources)
    if downloads and any(host.text == "*" for host in config.jobs.fetch.allowed_hosts):
        yield "jobs.fetch.allowed_hosts has *: jobs may have files fetched from any public host"
    for place in config.jobs.fetch.allowed_private:
        if downloads and place.port is None:
            yield f"jobs.fetch.allowed_private {place}: jobs may have files fetched from every port there"
    for dataset in config.datasets:
        if dataset.consent != "public":
            yield f"datasets: {dataset.name} has consent {dataset.consent}: nothing can be computed over it"
    if config.payouts.enabled and config.payouts.signer.key_file:
        yield "payouts.signer.key_file keeps the payout key in this process; use a wallet endpoint"
    if config.earnings.basis is Basis.QAP_SHARE:
        yield "earnings.basis qap_share also shares what your sectors earn without verified data"
