"""`approvals list|sign|add|verify|revoke`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sp_plugin.cli.options import ConfigOption, JsonOption, connect
from sp_plugin.cli.signing import KeyFile, KeyPlace, WalletInfo

if TYPE_CHECKING:
    from lotus_client.address import Address
    from lotus_client.crypto import Signature

__all__ = ["add_to"]

approvals_app = typer.Typer(no_args_is_help=True, help="Signatures over what a job will do.")

JobId = Annotated[str, typer.Argument(help="A job's ID, the beginning of it, or its name.")]
ApproverOption = Annotated[
    str | None, typer.Option("--approver", help="The approver's address, with a wallet.")
]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(approvals_app, name="approvals")


@approvals_app.command("list")
def list_(job_id: JobId, config: ConfigOption = None, json: JsonOption = False) -> None:
    """Show who has signed a job and what is still missing."""
    from sp_plugin.cli.output import print_fields, print_json, print_rows

    answer = _standing(job_id, config)
    if json:
        print_json(answer)
        return
    print_fields(
        {"digest": answer["digest"], "approved": answer["approved"], "epoch": answer["at_epoch"]}
    )
    print_rows(answer["approvals"], ["approver", "role", "counts", "detail"], "nobody has signed")
    for refusal in answer["refusals"]:
        typer.echo(f"missing: {refusal['detail']}")


@approvals_app.command()
def verify(job_id: JobId, config: ConfigOption = None, json: JsonOption = False) -> None:
    """Recompute the digest here, check every signature here, and say whether they are enough; exits 3 if not."""
    from fil_plus.approvals import approval_payload
    from lotus_client.address import Address
    from lotus_client.crypto import Signature, SignatureError, envelope, verify_signature
    from sp_plugin.approvals.recorded import bundle_from_json
    from sp_plugin.cli.output import print_json, print_rows
    from sp_plugin.errors import ExitCode

    answer = _standing(job_id, config)
    bundle = bundle_from_json(answer["bundle"], bytes.fromhex(answer["digest"]))
    rows = []
    for item in answer["approvals"]:
        try:
            verify_signature(
                Signature.from_bytes(bytes.fromhex(item["signature"])),
                Address.parse(item["approver"]),
                envelope(approval_payload(bundle)),
            )
            good, detail = True, item["detail"]
        except SignatureError as error:
            good, detail = False, str(error)
        rows.append(item | {"signature_ok": good, "detail": detail})
    approved = answer["approved"] and all(row["signature_ok"] for row in rows if row["counts"])
    if json:
        print_json({"digest": answer["digest"], "approved": approved, "approvals": rows})
    else:
        print_rows(
            rows, ["approver", "role", "signature_ok", "counts", "detail"], "nobody has signed"
        )
        typer.echo("approved" if approved else "not approved")
    if not approved:
        raise typer.Exit(ExitCode.REFUSED)


@approvals_app.command()
def sign(
    job_id: JobId,
    key_file: KeyFile = None,
    wallet_info_file: WalletInfo = None,
    approver: ApproverOption = None,
    role: Annotated[str | None, typer.Option(help="Needed if you hold several roles.")] = None,
    add: Annotated[bool, typer.Option("--add/--no-add", help="Hand the signature in.")] = True,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Read what a job will do and sign it. The digest is computed here, from what is shown here."""
    from fil_plus.approvals import approval_payload
    from sp_plugin.approvals.recorded import bundle_from_json
    from sp_plugin.cli.api import segment
    from sp_plugin.cli.output import print_json

    api = connect(config)
    request = api.get(f"/api/v1/sp/jobs/{segment(job_id)}/bundle")
    bundle = bundle_from_json(request["bundle"], bytes.fromhex(request["digest"]))
    if not yes:
        print_json(request["bundle"])
        typer.confirm("Sign this?", abort=True, err=True)
    address, signature = _signed(approval_payload(bundle), key_file, wallet_info_file, approver)
    body: dict[str, Any] = {
        "approver": str(address),
        "signature": signature.to_bytes().hex(),
        "role": role,
    }
    if add:
        body |= api.post(f"/api/v1/sp/jobs/{segment(job_id)}/approvals", body)
    if json:
        print_json(body | {"digest": request["digest"]})
    else:
        typer.echo(f"{address} signed {request['digest']}\n{body['signature']}")


@approvals_app.command("add")
def add_(
    job_id: JobId,
    approver: Annotated[str, typer.Argument(help="The address that signed.")],
    signature: Annotated[str, typer.Argument(help="Hex, as `lotus wallet sign` prints it.")],
    role: Annotated[str | None, typer.Option(help="Needed if the approver holds several.")] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Hand in a signature made elsewhere."""
    from sp_plugin.cli.api import segment
    from sp_plugin.cli.output import print_json

    answer = connect(config).post(
        f"/api/v1/sp/jobs/{segment(job_id)}/approvals",
        {"approver": approver, "signature": signature, "role": role},
    )
    if json:
        print_json(answer)
    else:
        typer.echo("added" if answer["added"] else "was there already")


@approvals_app.command()
def revoke(
    job_id: JobId,
    reason: Annotated[str, typer.Option(help="fraud, legal, quality or other.")],
    key_file: KeyFile = None,
    wallet_info_file: WalletInfo = None,
    approver: ApproverOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Withdraw approval: no new run starts. What was earned before stays earned."""
    from fil_plus.approvals import RevocationReason, revocation_payload
    from lotus_client.types import Epoch
    from sp_plugin.approvals.recorded import bundle_from_json
    from sp_plugin.cli.api import segment
    from sp_plugin.cli.output import print_json
    from sp_plugin.errors import BadInput

    if reason not in list(RevocationReason):
        raise BadInput(f"must be one of {', '.join(RevocationReason)}", field="--reason")
    standing = _standing(job_id, config)
    bundle = bundle_from_json(standing["bundle"], bytes.fromhex(standing["digest"]))
    payload = revocation_payload(
        bundle.digest(), RevocationReason(reason), Epoch(standing["at_epoch"]), bundle.network_name
    )
    address, signature = _signed(payload, key_file, wallet_info_file, approver)
    answer = connect(config).post(
        f"/api/v1/sp/jobs/{segment(job_id)}/revocations",
        {
            "approver": str(address),
            "signature": signature.to_bytes().hex(),
            "reason": reason,
            "at_epoch": standing["at_epoch"],
        },
    )
    if json:
        print_json(answer)
    else:
        typer.echo(f"{address} revoked {standing['digest']}")


def _standing(job_id: str, config: Path | None) -> dict[str, Any]:
    from sp_plugin.cli.api import segment

    answer: dict[str, Any] = connect(config).get(f"/api/v1/sp/jobs/{segment(job_id)}/approvals")
    return answer


def _signed(
    payload: bytes, key_file: Path | None, wallet_info_file: Path | None, approver: str | None
) -> tuple[Address, Signature]:
    """The signer's address and its FRC-0102 signature over `payload`."""
    place = KeyPlace(key_file, wallet_info_file, approver, "--approver")
    return place.signer(), place.sign(payload)
