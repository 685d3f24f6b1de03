"""`job sign`: a job with its submitter's signature in it, which comes in without a token."""

from __future__ import annotations

import json as json_module
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from sp_plugin.cli.options import ConfigOption, JsonOption, connect
from sp_plugin.cli.signing import KeyFile, KeyPlace, WalletInfo, address_in

if TYPE_CHECKING:
    from lotus_client.address import Address
    from lotus_client.types import Epoch
    from sp_plugin.jobs.signed import Place
    from sp_plugin.jobs.spec import JobSpec

__all__ = ["add_to"]

_SIGNING: Final = "/api/v1/sp/signing"
_DAY: Final = 2880  # epochs


def add_to(job_app: typer.Typer) -> None:
    """Add the command."""
    job_app.command("sign")(sign)


def sign(
    file: Annotated[Path, typer.Argument(help="A job in YAML or JSON; - reads standard input.")],
    key_file: KeyFile = None,
    wallet_info_file: WalletInfo = None,
    signer: Annotated[
        str | None, typer.Option(help="The submitter's f1 or f3 address, with a wallet.")
    ] = None,
    valid_for: Annotated[
        int, typer.Option(min=1, help="Epochs from now in which the job may be handed in.")
    ] = _DAY,
    expires: Annotated[
        int | None,
        typer.Option(min=0, max=1 << 48, help="The last epoch itself, in place of --valid-for."),
    ] = None,
    provider: Annotated[
        str | None,
        typer.Option(
            help="The provider's f0 address; with --network and --expires no sidecar is asked."
        ),
    ] = None,
    network: Annotated[str | None, typer.Option(help="Its network, e.g. mainnet.")] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Only show what is to be signed, to sign it elsewhere.")
    ] = False,
    signature: Annotated[
        str | None,
        typer.Option(help="A signature made elsewhere over what --show printed (same --expires)."),
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Sign a job as its submitter and print it, ready for `job submit` or any Bacalhau client, without a token."""
    from sp_plugin.cli.output import print_json

    keys = KeyPlace(key_file, wallet_info_file, signer, "--signer")
    elsewhere = signature is not None or (show and key_file is None and wallet_info_file is None)
    address = _named(signer) if elsewhere else keys.signer()
    terms = _terms(provider, network, expires, valid_for, config)
    unsigned = _unsigned(file, address, terms.expires)
    payload = _payload(unsigned, terms)
    if show:
        _show(unsigned, terms, payload, json=json)
        return
    text = signature if signature is not None else keys.sign(payload).to_bytes().hex()
    print_json(_signed(unsigned, text, terms))


@dataclass(frozen=True, slots=True)
class _Terms:
    place: Place
    expires: Epoch


def _named(signer: str | None) -> Address:
    from sp_plugin.errors import BadInput

    if signer is None:
        raise BadInput("say --signer: whose signature it is")
    return address_in(signer, "--signer")


def _terms(
    provider: str | None,
    network: str | None,
    expires: int | None,
    valid_for: int,
    config: Path | None,
) -> _Terms:
    """What was given, and of the rest what the sidecar says."""
    from lotus_client.address import Address
    from lotus_client.types import Epoch
    from sp_plugin.errors import BadInput
    from sp_plugin.jobs.signed import Place, why_not_in_time

    known: dict[str, Any] = {}
    if provider is None or network is None or expires is None:
        known = connect(config).get(_SIGNING)
    text = provider or known["provider"]
    address = address_in(text, "--provider") if provider else Address.parse(text)
    if address.protocol != 0:
        raise BadInput(f"{text} is not the f0 address of a provider", field="--provider")
    last = Epoch(known["epoch"] + valid_for if expires is None else expires)
    if known and (why := why_not_in_time(last, Epoch(known["epoch"]))):
        raise BadInput(why, field="--expires" if expires is not None else "--valid-for")
    return _Terms(Place(network or known["network"], address.actor_id), last)


def _unsigned(file: Path, signer: Address, expires: Epoch) -> JobSpec:
    """The job as the sidecar will read it, naming its signer; what is ignored of it is said."""
    from sp_plugin.cli.reading import read_structure
    from sp_plugin.errors import BadInput
    from sp_plugin.jobs.kinds import load_kinds
    from sp_plugin.jobs.meta import META_SIGNATURE, META_SIGNATURE_EXPIRES, META_SUBMITTER
    from sp_plugin.jobs.reading import read_job_values
    from sp_plugin.jobs.signed import is_payees_own, why_not_signer

    if why := why_not_signer(signer):
        raise BadInput(why, field="--signer")
    read = read_job_values(read_structure(file, "job"), load_kinds())
    for warning in read.warnings:
        typer.echo(f"warning: {warning}", err=True)
    wire = json_module.loads(json_module.dumps(read.spec.to_wire()))
    meta = {
        name: value
        for name, value in wire["Meta"].items()
        if name not in (META_SIGNATURE, META_SUBMITTER)
    }
    if not is_payees_own(str(signer), meta):
        meta[META_SUBMITTER] = str(signer)
    wire["Meta"] = meta | {META_SIGNATURE_EXPIRES: str(expires)}
    return read_job_values(wire, load_kinds()).spec


def _payload(spec: JobSpec, terms: _Terms) -> bytes:
    from sp_plugin.jobs.signed import submission_digest, submission_payload

    return submission_payload(submission_digest(spec, terms.place), terms.expires, terms.place)


def _signed(spec: JobSpec, signature: str, terms: _Terms) -> dict[str, Any]:
    """The job to hand in, checked here as the sidecar will."""
    from sp_plugin.jobs.meta import META_SIGNATURE
    from sp_plugin.jobs.signed import verify_submission

    meta = {**spec.meta, META_SIGNATURE: signature}
    signed = spec.model_copy(update={"meta": meta})
    verify_submission(signed, terms.place)
    return signed.to_wire()


def _show(spec: JobSpec, terms: _Terms, payload: bytes, *, json: bool) -> None:
    from sp_plugin.cli.output import print_json
    from sp_plugin.jobs.signed import submission_digest, submission_json

    digest = submission_digest(spec, terms.place).hex()
    if json:
        shown = {
            "digest": digest,
            "expires": terms.expires,
            "payload": payload.decode("ascii"),
            "signed": submission_json(spec, terms.place),
        }
        print_json(shown)
        return
    print_json(submission_json(spec, terms.place))
    typer.echo(f"digest   {digest}\nexpires  {terms.expires}\npayload  {payload.hex()}")
