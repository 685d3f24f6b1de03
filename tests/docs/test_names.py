"""Whatever the documentation names exists: files, anchors, commands and options, config keys, metrics, exit codes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer

from devstack.cli import app as devstack_app
from sp_plugin.cli import app as sidecar_app
from sp_plugin.config import Config, Scope
from sp_plugin.config.loading import models_in
from sp_plugin.errors import ExitCode
from sp_plugin.executors.base import OutcomeKind
from sp_plugin.jobs.retries import retry_rule
from sp_plugin.ledger import accounts
from sp_plugin.metrics import metrics_text
from sp_plugin.payouts.states import PayoutState
from tests.docs.pages import (
    PAGES,
    ROOT,
    all_blocks,
    anchors_of,
    blocks_of,
    links_of,
    name_of,
    prose_of,
    spans_of,
)
from tests.unit.sp_plugin.test_policy import BUNDLE

pages = pytest.mark.parametrize("page", PAGES, ids=name_of)


@pages
def test_internal_links_lead_somewhere(page: Path):
    broken = []
    for link in links_of(page):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            broken.append(link)
    assert not broken


def _root_command() -> Any:
    root: Any = typer.main.get_command(sidecar_app)
    root.add_command(typer.main.get_command(devstack_app), "devstack")
    return root


ROOT_COMMAND = _root_command()


def wrong_with(words: list[str]) -> str | None:
    """What is wrong with the words of an `sp-plugin` command, or None."""
    command: Any = ROOT_COMMAND
    path = "sp-plugin"
    rest = list(words)
    while rest and hasattr(command, "commands"):
        word = rest.pop(0)
        if word.startswith("-") or word in ("…", "..."):
            return None
        if word not in command.commands:
            return f"{path} has no command {word!r}"
        command, path = command.commands[word], f"{path} {word}"
    if "--" in rest:
        rest = rest[: rest.index("--")]  # behind it stand arguments of somebody else's program
    options = {name for parameter in command.params for name in parameter.opts}
    options |= {name for parameter in command.params for name in parameter.secondary_opts}
    unknown = [
        word.split("=")[0]
        for word in rest
        if word.startswith("-") and word != "-" and word.split("=")[0] not in options | {"--help"}
    ]
    return f"{path} has no option {unknown[0]}" if unknown else None


def commands_in(text: str) -> Iterator[list[str]]:
    """The words after each `sp-plugin` that stands where a command does."""
    for line in text.replace("\\\n", " ").splitlines():
        for match in re.finditer(r"(?:^|[\s$(|;`])sp-plugin ([a-z][^|;)#>`]*)", line):
            yield [word.strip("\"',.:") for word in match[1].split()]


@pages
def test_every_command_and_option_exists(page: Path):
    shell = "\n".join(b.text for b in blocks_of(page) if b.language in ("sh", "console", "yaml"))
    said = "\n".join(span for span in spans_of(page) if span.startswith("sp-plugin "))
    wrong = [
        reason
        for words in commands_in(f"{shell}\n{said}")
        if words and (reason := wrong_with(words))
    ]
    assert not wrong


def test_the_check_of_commands_sees_what_is_wrong():
    assert list(commands_in("x=$(sp-plugin job submit a.yaml) | tee b")) == [
        ["job", "submit", "a.yaml"]
    ]
    assert wrong_with(["job", "submit", "a.yaml", "--json"]) is None
    assert wrong_with(["devstack", "advance", "3"]) is None
    assert wrong_with(["job", "sumbit"]) == "sp-plugin job has no command 'sumbit'"
    assert wrong_with(["run", "--fast"]) == "sp-plugin run has no option --fast"


def _config_keys(section: Any, prefix: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        yield prefix + name
        inner = next(models_in(field.annotation), None)
        if inner is not None:
            yield from _config_keys(inner, f"{prefix}{name}.")


@pages
def test_every_config_key_exists(page: Path):
    keys = set(_config_keys(Config))
    sections = {key.split(".")[0] for key in keys}
    named = [
        span.split(":")[0]
        for span in spans_of(page)
        if re.fullmatch(r"[a-z_]+(\.[a-z_]+)+(: .*)?", span)
        and span.split(".")[0] in sections
        and not span.endswith((".py", ".md", ".yaml"))
    ]
    assert [key for key in named if key not in keys] == []


OPERATING = ROOT / "docs" / "operating.md"


def table_rows(page: Path, heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without its head."""
    section = prose_of(page).split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_the_table_of_metrics_is_that_of_the_code():
    helps = dict(re.findall(r"^# HELP (\S+) (.*)$", metrics_text().decode(), re.MULTILINE))
    real = {name: text for name, text in helps.items() if not name.endswith("_created")}
    documented = {row[0].strip("`"): row[2] for row in table_rows(OPERATING, "Metrics")}
    assert documented == real


def test_the_table_of_exit_codes_is_that_of_the_code():
    documented = [int(row[0].strip("`")) for row in table_rows(OPERATING, "Exit codes")]
    assert documented == list(ExitCode)


def test_the_table_of_scopes_is_that_of_the_code():
    documented = [row[0].strip("`") for row in table_rows(OPERATING, "Tokens and least privilege")]
    assert documented == list(Scope)


def test_the_table_of_payout_states_is_that_of_the_code():
    documented = [row[0].strip("`") for row in table_rows(OPERATING, "Payouts")]
    assert documented == list(PayoutState)


def test_the_table_of_outcomes_is_that_of_the_code():
    documented = [
        row[0].strip("`") for row in table_rows(ROOT / "docs" / "jobs.md", "How a run ends")
    ]
    assert documented == list(OutcomeKind)


def test_the_table_of_outcomes_says_how_often_each_is_tried_again():
    for row in table_rows(ROOT / "docs" / "jobs.md", "How a run ends"):
        rule = retry_rule(row[0].strip("`"))
        numbers = [float(number) for number in re.findall(r"\d+", row[2])]
        expected = [rule.attempts, *rule.waits] if rule.attempts > 1 else []
        assert numbers == expected, row


def test_the_table_of_accounts_is_that_of_the_code():
    documented = {
        row[0].strip("`").split(":")[0]
        for row in table_rows(ROOT / "docs" / "money.md", "The ledger")
    }
    assert documented == {*accounts._FIXED, "accrued", "payable"}


def test_the_demo_in_the_readme_says_what_the_demo_says():
    source = "".join(path.read_text() for path in (ROOT / "devstack" / "demo").glob("*.py"))
    texts = re.findall(r'"([^"\n]+)"', source)
    patterns = ["(.+)".join(map(re.escape, re.split(r"\{[^}]*\}", text))) for text in texts]
    (shown,) = all_blocks("text", "demo")
    steps = [line.split("✓ ")[1] for line in shown.text.splitlines() if "✓" in line]
    assert len(steps) > 10
    titles = [step.split("  ")[0] for step in steps]
    whole = [pattern for pattern in patterns if re.search(r"\w{3}", pattern)]
    missing = [title for title in titles if not any(re.fullmatch(p, title) for p in whole)]
    assert not missing


def test_modules_and_files_in_code_spans_exist():
    spans = {span for page in PAGES for span in spans_of(page)}
    paths = [
        span
        for span in spans
        if re.fullmatch(r"[\w.]+(/[\w.\-]+)*/?", span)
        and "/" in span
        and span.split("/")[0] in {path.name for path in ROOT.iterdir()}
    ]
    missing = [path for path in paths if not (ROOT / path).exists()]
    assert missing == []


def test_the_fields_of_a_bundle_are_those_of_the_code():
    rows = table_rows(ROOT / "docs" / "approving.md", "What you sign")
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    assert documented == replace(BUNDLE, fuel=1).to_json().keys() - {"schema"}


def test_the_steps_are_those_of_the_code():
    source = (ROOT / "sp_plugin" / "service.py").read_text()
    steps = set(re.findall(r'\bStep\("(\w+)"', source))
    rows = table_rows(ROOT / "docs" / "architecture.md", "What runs")
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row[0])} == steps
    health = prose_of(OPERATING).split("## Health\n")[1].split("\n## ")[0]
    assert set(re.findall(r"`(\w+)`", health)) == steps


def test_every_fixture_of_the_pytest_plugin_is_documented():
    import devstack.pytest_plugin as plugin

    text = (ROOT / "docs" / "devstack.md").read_text()
    assert all(f"`{name}`" in text for name in plugin.__all__)


def test_the_control_api_is_documented_as_it_is():
    import devstack.control as control

    told = set(re.findall(r"^\| `([a-z-]+)` \|", inspect.getdoc(control) or "", re.MULTILINE))
    rows = table_rows(ROOT / "docs" / "devstack.md", "The control API")
    assert {row[0].strip("`") for row in rows} == told


def test_every_kind_of_fault_is_documented_with_its_parameters():
    from devstack.faults.kinds import KINDS

    told = {}
    for kinds, parameters, _ in table_rows(ROOT / "docs" / "devstack.md", "Faults on demand"):
        for name in re.findall(r"`([a-z-]+)`", kinds):
            told[name] = set(re.findall(r"(\w+)=", parameters))
    assert told == {kind: {*spec.numbers, *spec.texts} for kind, spec in KINDS.items()}
