"""`earnings show|backfill`, `ledger show|check`, `payouts plan|approve|send|status|reconcile|pause`, `statement`, `audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sp_plugin.cli.options import ConfigOption, JsonOption, connect, load, run_async

__all__ = ["add_to"]

earnings_app = typer.Typer(no_args_is_help=True, help="What the data really earned.")
ledger_app = typer.Typer(no_args_is_help=True, help="Who owes whom; double-entry, hash-chained.")
payouts_app = typer.Typer(no_args_is_help=True, help="Paying; nothing is sent until you say so.")


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(earnings_app, name="earnings")
    app.add_typer(ledger_app, name="ledger")
    app.add_typer(payouts_app, name="payouts")
    app.command("statement")(statement)
    app.command("audit")(audit)


@earnings_app.command("show")
def earnings(config: ConfigOption = None, json: JsonOption = False) -> None:
    """Show blocks won with what was credited for them, and what closed periods owe, in attoFIL."""
    from sp_plugin.cli.output import print_gaps, print_json, print_rows

    answer = connect(config).get("/api/v1/sp/earnings")
    if json:
        print_json(answer)
        return
    print_gaps(answer["gaps"])
    columns = ["epoch", "win_count", "credited", "gas_reward", "penalty", "complete"]
    print_rows(answer["wins"], columns, "no blocks won yet")
    rows = [
        {"period": item["period"], "payee": payee, "owed": amount}
        for item in answer["periods"]
        for payee, amount in item["owed"].items()
    ]
    typer.echo()
    print_rows(rows, ["period", "payee", "owed"], "no closed period owes anything")
    for item in answer["periods"]:
        for text in item["unknown"]:
            typer.echo(f"period {item['period']}, unknown and not counted: {text}")


@earnings_app.command("backfill")
def backfill(
    first: Annotated[int, typer.Option("--from", min=0, help="First epoch.")],
    last: Annotated[int, typer.Option("--to", min=0, help="Last epoch.")],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Read blocks won in a range of epochs again, where something was unknown. The node must still have their state."""
    from sp_plugin.cli.output import print_json

    answer = connect(config).post("/api/v1/sp/earnings/backfill", {"from": first, "to": last})
    if json:
        print_json(answer)
    else:
        typer.echo(f"{answer['read']} blocks read again; see: sp-plugin earnings show")


def statement(
    payee: Annotated[str, typer.Argument(help="The payee's address.")],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Print a payee's statement: what was earned, released and paid, and how each line can be checked."""
    from sp_plugin.cli.api import segment
    from sp_plugin.cli.output import print_json
    from sp_plugin.statement_text import statement_text

    answer = connect(config).get(f"/api/v1/sp/statements/{segment(payee)}")
    if json:
        print_json(answer)
    else:
        typer.echo(statement_text(answer))


def audit(
    file: Annotated[Path, typer.Argument(help="A statement in JSON; - reads standard input.")],
    proof: Annotated[
        list[Path] | None,
        typer.Option(help="What `pieces proof make` wrote of a piece in an aggregate; repeat it."),
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Check every line of a statement against the node named in the configuration, without the sidecar.

    With proofs, also that each sub-piece in it lies in the piece that earned.
    """
    from sp_plugin.cli.output import print_json, print_rows
    from sp_plugin.cli.reading import read_structure
    from sp_plugin.errors import ExitCode

    content, loaded = read_structure(file, "statement"), load(config)
    proofs = [read_structure(one, "proof") for one in proof or ()]

    async def work() -> dict[str, Any]:
        from sp_plugin.audit.statement import AuditReport, audit_statement
        from sp_plugin.node import connect_node
        from sp_plugin.statement_proofs import proof_findings

        async with connect_node(loaded.node) as node:
            report = await audit_statement(content, node)
        more = proof_findings(content, proofs) if proofs else ()
        return AuditReport((*report.findings, *more)).to_json()

    report = run_async(work())
    if json:
        print_json(report)
    else:
        print_rows(report["findings"], ["ok", "where", "reason"], "nothing to check")
        typer.echo("the statement holds" if report["ok"] else "the statement does NOT hold")
    if not report["ok"]:
        raise typer.Exit(ExitCode.FAILED)


@ledger_app.command()
def show(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many entries.")] = 20,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Show balances and the newest entries, in attoFIL. Assets are positive, debts negative."""
    from sp_plugin.cli.output import print_fields, print_json, print_rows

    answer = connect(config).get("/api/v1/sp/ledger", limit=limit)
    if json:
        print_json(answer)
        return
    print_fields(answer["balances"])
    typer.echo()
    print_rows(answer["entries"], ["sequence", "epoch", "kind", "key"], "the ledger is empty")


@ledger_app.command()
def check(
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not ask the node; the wallet is not compared.")
    ] = False,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Prove that the ledger balances, is unbroken and agrees with the payout wallet on chain; exits 1 if not.

    The node is asked for the wallet's balance in the newest final state that the ledger covers; exits 4 if it does not
    answer.
    """
    from sp_plugin.books import check_books
    from sp_plugin.cli.output import print_json
    from sp_plugin.errors import ExitCode

    result = run_async(check_books(load(config), ask_node=not offline))
    if json:
        print_json(result.to_json())
    else:
        for problem in result.report.problems:
            typer.echo(f"{problem.where}: {problem.message}")
        typer.echo(f"payout wallet: {result.wallet}")
        state = "ok" if result.report.ok else "NOT ok"
        typer.echo(f"{result.report.entries} entries: {state}")
    if not result.report.ok:
        raise typer.Exit(ExitCode.FAILED)


@payouts_app.command()
def plan(config: ConfigOption = None, json: JsonOption = False) -> None:
    """Decide whom to pay now, and say who is held and why and what the wallet lacks. Sends nothing."""
    from lotus_client.types import AttoFil
    from sp_plugin.cli.output import print_json, print_rows

    answer = connect(config).post("/api/v1/sp/payouts/plan")
    if json:
        print_json(answer)
        return
    rows = [
        item | {"fil": AttoFil(int(item["amount"])).to_fil(), "held": item["held"] or "pay"}
        for item in answer["decisions"]
    ]
    print_rows(rows, ["payee", "fil", "held"], "nothing is due")
    if answer["lacking"] != "0":
        lacking = AttoFil(int(answer["lacking"])).to_fil()
        typer.echo(f"the payout wallet lacks {lacking} FIL; fund it as the owner, by one of:")
        for command in answer["commands"]:
            typer.echo(f"  {command}")
    if answer["digest"]:
        typer.echo(f"approve it with: sp-plugin payouts approve {answer['digest']}")


@payouts_app.command()
def approve(
    digest: Annotated[str, typer.Argument(help="The digest that `payouts plan` printed.")],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Approve a plan, so that its payouts are signed and sent."""
    from sp_plugin.cli.output import print_fields, print_json

    answer = connect(config).post("/api/v1/sp/payouts/approve", {"digest": digest})
    (print_json if json else print_fields)(answer)


@payouts_app.command()
def send(config: ConfigOption = None, json: JsonOption = False) -> None:
    """One pass of the sender now: follow what is under way, sign and push what is approved."""
    from sp_plugin.cli.output import print_fields, print_json

    answer = connect(config).post("/api/v1/sp/payouts/send")
    (print_json if json else print_fields)(answer)


@payouts_app.command()
def status(config: ConfigOption = None, json: JsonOption = False) -> None:
    """Show every payout and whether sending is on."""
    from sp_plugin.cli.output import print_fields, print_json, print_rows

    answer = connect(config).get("/api/v1/sp/payouts")
    if json:
        print_json(answer)
        return
    print_fields(answer["wallet"] or {"wallet": "none is named (payouts.wallet)"})
    typer.echo()
    columns = ["id", "payee", "amount", "state", "reason", "message"]
    print_rows(answer["items"], columns, "no payouts")


@payouts_app.command()
def reconcile(
    accept_nonce: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Accept what others sent from the wallet, up to this next nonce, and let sending go on.",
        ),
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Compare the wallet's nonces on chain with ours; exits 1 while they do not fit. Changes nothing without a flag."""
    from sp_plugin.cli.output import print_fields, print_json
    from sp_plugin.errors import ExitCode

    api, path = connect(config), "/api/v1/sp/payouts/reconcile"
    answer = (
        api.get(path) if accept_nonce is None else api.post(path, {"accept_nonce": accept_nonce})
    )
    if json:
        print_json(answer)
    else:
        print_fields({key.replace("_", " "): value for key, value in answer.items()})
        if not answer["fits"]:
            typer.echo(
                "somebody else has used this wallet, or this database is older than its messages. Look at its messages "
                f"(lotus state list-messages --from {answer['wallet']}): is a payee paid already? Then accept with: "
                f"sp-plugin payouts reconcile --accept-nonce {answer['next_nonce']}"
            )
    if not answer["fits"]:
        raise typer.Exit(ExitCode.FAILED)


@payouts_app.command()
def pause(
    resume: Annotated[bool, typer.Option("--resume", help="Let sending go on.")] = False,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Stop all sending at once."""
    from sp_plugin.cli.output import print_fields, print_json

    answer = connect(config).post("/api/v1/sp/payouts/pause", {"paused": not resume})
    (print_json if json else print_fields)(answer["wallet"])
