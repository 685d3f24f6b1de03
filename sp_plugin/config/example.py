"""The configuration file that explains itself: every key with its default and why, made from `sections`.

`config.example.yaml` in the repository is this text; a test keeps them equal.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, Final

import yaml
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from lotus_client.types import AttoFil
from sp_plugin.config.fields import Section
from sp_plugin.config.guard import HostRole
from sp_plugin.config.loading import models_in
from sp_plugin.config.sections import Config

__all__ = ["example_config", "first_config", "plain_values"]

_WIDTH: Final = 110
_HEAD: Final = """\
# The configuration of sp-plugin. Every key stands here with its default and the reason it exists.
# Check a file:           sp-plugin config check --config FILE
# Override one key:       SP_PLUGIN__PAYOUTS__DRY_RUN=true in the environment (two underscores between levels)
# Amounts are in FIL and exact; shares are in basis points (100 = 1 %); relative paths start at this file.
# Secrets are files that only their owner can read (chmod 600), or come from the environment.
"""


def example_config() -> str:
    """A valid YAML file with every key there is."""
    return _HEAD + "\n" + "\n".join(_section(Config, 0, 0, top=True)) + "\n"


def _section(model: type[Section], depth: int, item: int, *, top: bool = False) -> Iterator[str]:
    for key, field in model.model_fields.items():
        if top and key != "data_dir":
            yield ""
        yield from _key(key, field, depth, item)


def _key(key: str, field: FieldInfo, depth: int, item: int) -> Iterator[str]:
    indent = "  " * depth
    inner = next(models_in(field.annotation), None)
    if inner is None:
        yield from _comment(f"{field.description}{_default(field, item)}", indent)
        yield f"{indent}{key}: {_value(field, item)}"
        return
    yield from _comment((inner.__doc__ or "").splitlines()[0], indent)
    yield f"{indent}{key}:"
    if "tuple" not in str(field.annotation):
        yield from _section(inner, depth + 1, item)
        return
    for number in range(_items(inner)):
        lines = list(_section(inner, depth + 2, number))
        if number:
            lines = [line for line in lines if not line.lstrip().startswith("#")]
        first = next(i for i, line in enumerate(lines) if not line.lstrip().startswith("#"))
        lines[first] = f"{indent}  - " + lines[first].lstrip()
        yield from lines


def _items(model: type[Section]) -> int:
    """How many entries a list of this section shows: as many as its keys have examples."""
    return max(len(field.examples or [0]) for field in model.model_fields.values())


def _value(field: FieldInfo, item: int) -> str:
    if field.examples:
        return _plain(field.examples[min(item, len(field.examples) - 1)])
    return _plain(field.get_default())


def _default(field: FieldInfo, item: int) -> str:
    if field.is_required():
        return " (required)"
    default = _plain(field.get_default())
    return "" if default == _value(field, item) else f" (default: {default})"


def _plain(value: Any) -> str:
    if value is PydanticUndefined:
        raise TypeError("a required key needs an example")
    if isinstance(value, AttoFil):
        return value.to_fil()
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_plain(part) for part in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_plain(part)}" for key, part in value.items()) + "}"
    if value is None:
        return "null"
    if isinstance(value, int):
        return str(value).lower()  # booleans are lower case in YAML
    text = yaml.safe_dump(str(value), default_flow_style=True, width=1000)
    return text.removesuffix("\n").removesuffix("\n...")


def _comment(text: str, indent: str) -> Iterator[str]:
    for line in textwrap.wrap(text, _WIDTH - len(indent) - 2):
        yield f"{indent}# {line}"


def plain_values(part: Any) -> Any:
    """A config as plain values for printing: amounts in FIL, secrets as `***`, addresses and paths as text."""
    if isinstance(part, Section):
        return {key: plain_values(getattr(part, key)) for key in type(part).model_fields}
    if isinstance(part, AttoFil):
        return part.to_fil()
    if isinstance(part, tuple | list):
        return [plain_values(item) for item in part]
    if isinstance(part, dict):
        return {key: plain_values(item) for key, item in part.items()}
    if part is None or isinstance(part, bool | int):
        return part
    return str(part)


def first_config(
    *,
    actor: str,
    data_dir: str,
    network: str,
    endpoint: str,
    token_file: str | None,
    storage_paths: Sequence[str] = (),
    host_role: HostRole | None = None,
) -> str:
    """A short configuration for a first start: no datasets, no approvers, no payouts."""
    prefix = "f" if network == "mainnet" else "t"
    return f"""\
# Written by `sp-plugin init`. All keys with their defaults: sp-plugin config default
data_dir: {_plain(data_dir)}

node:
  endpoint: {_plain(endpoint)}
  token_file: {_plain(token_file)}
  network: {_plain(network)}

provider:
  actor: {_plain(actor)}
  # directories that hold `unsealed/`, only read from
  storage_paths: {_plain(list(storage_paths))}

guard:
  # what else this host does: prover (it computes WindowPoSts: jobs stand still for them), sealer, storage or compute;
  # null is taken for prover
  host_role: {_plain(host_role)}

# A piece in no dataset cannot be computed over. An entry looks like this:
#  - name: quakes
#    licence: CC0-1.0
#    steward: Open Data Trust
#    consent: public
#    selector:
#      clients: [{prefix}01234]
datasets: []

approvals:
  k: 2
  # - name: Ada
  #   address: {prefix}1…
  #   roles: [steward]
  approvers: []

earnings:
  basis: verified_extra
  # The yearly cost of your pledge in basis points, netted before anything is shared. 0 shares without it.
  capital_cost_apr_bps: 0

payouts:
  enabled: false
"""
