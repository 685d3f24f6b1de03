"""YAML as plain values with the line of every key, read more strictly than YAML is.

Refused with the line: tabs and other syntax errors, duplicate keys, anchors and aliases (they can grow a small file
without bound), several documents, tags, keys that are not text, nesting over 32, more than 1 MiB.
Only `true` and `false` are booleans (in YAML 1.1 `no` is one too), only plain decimal digits are whole numbers, and a
decimal fraction stays exact (`Decimal`), because it may be an amount of money.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import yaml

from sp_plugin.errors import Problem

__all__ = ["Path", "YamlDocument", "format_path", "parse_scalar", "read_yaml"]

Path = tuple[str | int, ...]  # keys and list positions from the top of the document

_MAX_BYTES: Final = 1 << 20
_MAX_DEPTH: Final = 32

_INT: Final = re.compile(r"[-+]?[0-9]+")
_DECIMAL: Final = re.compile(r"[-+]?[0-9]+\.[0-9]+")
_PLAIN: Final = {"true": True, "false": False, "null": None, "~": None, "": None}


@dataclass(slots=True)
class YamlDocument:
    """A document's value, the 1-based line of every path in it, and what was wrong with it."""

    name: str
    value: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def where(self, path: Path) -> str:
        """`file:line: path`, by the nearest enclosing path that has a line."""
        place = path
        while place not in self.lines and place:
            place = place[:-1]
        line = self.lines.get(place)
        prefix = f"{self.name}:{line}" if line else self.name
        return f"{prefix}: {format_path(path)}" if path else prefix


def format_path(path: Path) -> str:
    """`datasets[0].name` for `("datasets", 0, "name")`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def read_yaml(text: str, name: str) -> YamlDocument:
    """The document in `text`; look at `.problems` before using `.value`. Never raises for bad text."""
    document = YamlDocument(name)
    if len(text.encode("utf-8", "surrogatepass")) > _MAX_BYTES:
        document.problems.append(Problem(name, f"is larger than {_MAX_BYTES} bytes"))
        return document
    try:
        if _check_events(text, document):
            node = yaml.compose(text, Loader=yaml.SafeLoader)
            if node is not None:
                document.value = _construct(node, (), document)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        document.problems.append(Problem(f"{name}:{line}", _syntax_message(text, line, error)))
    except yaml.YAMLError as error:  # characters that YAML does not allow at all
        document.problems.append(Problem(name, f"is not YAML text: {error}".replace("\n", " ")))
    return document


def parse_scalar(text: str) -> Any:
    """The value of a plain scalar by our rules: booleans, null, whole numbers, exact decimals, else text."""
    if text in _PLAIN:
        return _PLAIN[text]
    if _INT.fullmatch(text) and len(text) < 100:
        return int(text)
    if _DECIMAL.fullmatch(text) and len(text) < 100:
        return Decimal(text)
    return text


def _syntax_message(text: str, line: int, error: yaml.MarkedYAMLError) -> str:
    lines = text.splitlines()
    content = lines[line - 1] if 0 < line <= len(lines) else ""
    if "\t" in content[: len(content) - len(content.lstrip())]:
        return "a tab stands in the indentation; YAML indents with spaces only"
    return f"cannot be read as YAML: {error.problem or error.context}"


def _check_events(text: str, document: YamlDocument) -> bool:
    """Whether the document may be composed: composing follows aliases and recurses, parsing does neither."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        where = f"{document.name}:{event.start_mark.line + 1 if event.start_mark else 1}"
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            document.problems.append(
                Problem(where, "anchors (&) and aliases (*) are not used here; write the value out")
            )
        elif getattr(event, "tag", None):
            document.problems.append(Problem(where, "tags (!) are not used here; remove it"))
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                document.problems.append(Problem(where, "a second document begins; keep one"))
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MAX_DEPTH:
                document.problems.append(Problem(where, f"is nested deeper than {_MAX_DEPTH}"))
                return False
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return not document.problems


def _construct(node: yaml.Node, path: Path, document: YamlDocument) -> Any:
    document.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        return _construct_mapping(node, path, document)
    if isinstance(node, yaml.SequenceNode):
        return [_construct(child, (*path, i), document) for i, child in enumerate(node.value)]
    if (
        isinstance(node, yaml.ScalarNode) and node.style is None
    ):  # plain, not quoted and not a block
        return parse_scalar(node.value)
    return node.value


def _construct_mapping(
    node: yaml.MappingNode, path: Path, document: YamlDocument
) -> Mapping[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            document.problems.append(Problem(f"{document.name}:{line}", "a key must be text"))
            continue
        key = key_node.value
        here = (*path, key)
        if key in result:
            first = document.lines[here]
            document.problems.append(
                Problem(
                    f"{document.name}:{line}: {format_path(here)}",
                    f"the key stands twice (first in line {first}); keep one of them",
                )
            )
            continue
        document.lines[here] = line
        result[key] = _construct(value_node, here, document)
    return result
