"""From a YAML file and the environment to a `Config`, or to every problem at once."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any, Final, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from sp_plugin.config.fields import SecretFile, Section
from sp_plugin.config.sections import Config
from sp_plugin.config.yaml_lines import Path, YamlDocument, parse_scalar, read_yaml
from sp_plugin.errors import ConfigError, Problem

__all__ = ["ENV_PREFIX", "load_config", "models_in", "parse_config"]

ENV_PREFIX: Final = "SP_PLUGIN__"


def load_config(path: FilePath, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration in `path`, with `SP_PLUGIN__SECTION__KEY` variables laid over it.

    Raises:
        ConfigError: unreadable or wrong; lists every problem with its line.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        hint = "; write one with: sp-plugin init" if isinstance(error, FileNotFoundError) else ""
        raise ConfigError([Problem(str(path), f"{error.strerror}{hint}")]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([Problem(str(path), f"is not UTF-8 text: {error}")]) from error
    base_dir = path.absolute().parent
    config, document = _parse(text, str(path), os.environ if environ is None else environ, base_dir)
    if problems := list(_secret_file_problems(config, (), document)):
        raise ConfigError(problems)
    return config


def parse_config(
    text: str,
    name: str = "config.yaml",
    environ: Mapping[str, str] | None = None,
    base_dir: FilePath = FilePath(),
) -> Config:
    """As `load_config`, from text and without looking at the files it names."""
    return _parse(text, name, environ or {}, base_dir)[0]


def _parse(
    text: str, name: str, environ: Mapping[str, str], base_dir: FilePath
) -> tuple[Config, YamlDocument]:
    document = read_yaml(text, name)
    if document.value is None and not document.problems:
        document.problems.append(Problem(name, "is empty; write one with: sp-plugin init"))
    if document.problems and document.value is None:
        raise ConfigError(document.problems)
    problems = list(document.problems)
    value = document.value
    if not isinstance(value, dict):
        raise ConfigError([*problems, Problem(name, "must be keys and values, e.g. data_dir: …")])
    problems += _inline_secrets(value, document)
    overridden = _lay_over(value, environ, problems)
    try:
        config = Config.model_validate(value, context={"base_dir": base_dir})
    except ValidationError as error:
        problems += [
            _problem(details, document, overridden) for details in error.errors(include_url=False)
        ]
        raise ConfigError(sorted(problems, key=_line)) from None
    if problems:
        raise ConfigError(sorted(problems, key=_line))
    return config, document


def _line(problem: Problem) -> int:
    found = re.search(r":(\d+)(: |$)", problem.where)
    return int(found[1]) if found else 0


def _inline_secrets(value: Mapping[str, Any], document: YamlDocument) -> Iterator[Problem]:
    node = value.get("node")
    if isinstance(node, dict) and node.get("api_info") is not None:
        yield Problem(
            document.where(("node", "api_info")),
            "holds a token, which does not belong in this file; put it in a file of mode 600 and name "
            f"it by api_info_file, or set {ENV_PREFIX}NODE__API_INFO",
        )


def _lay_over(
    value: dict[str, Any], environ: Mapping[str, str], problems: list[Problem]
) -> dict[Path, str]:
    """Put the variables into `value`; gives back which path came from which variable."""
    overridden: dict[Path, str] = {}
    for variable in sorted(name for name in environ if name.startswith(ENV_PREFIX)):
        path = tuple(part.lower() for part in variable.removeprefix(ENV_PREFIX).split("__"))
        place: Any = value
        for part in path[:-1]:
            place = place.setdefault(part, {}) if isinstance(place, dict) else None
        if not isinstance(place, dict):
            problems.append(Problem(variable, "names a key inside something that has no keys"))
            continue
        place[path[-1]] = parse_scalar(environ[variable])
        overridden[path] = variable
    return overridden


def _problem(
    details: ErrorDetails, document: YamlDocument, overridden: Mapping[Path, str]
) -> Problem:
    path: Path = tuple(details["loc"])
    if details["type"] == "section" and (key := details["ctx"]["key"]):
        path += tuple(int(part) if part.isdigit() else part for part in key.split("."))
    for length in range(len(path), 0, -1):
        if variable := overridden.get(path[:length]):
            return Problem(variable, _message(details, path))
    return Problem(document.where(path), _message(details, path))


def _message(details: ErrorDetails, path: Path) -> str:
    """Our words for pydantic's kinds of error: what is wrong and what to do."""
    given, context = details["input"], details.get("ctx", {})
    shown = "" if isinstance(given, dict | list) else f", got {_shown(given)}"
    match details["type"]:
        case "extra_forbidden":
            return _unknown_key(path)
        case "missing":
            return f"is required: {_description(path)}"
        case "int_type" | "int_parsing" | "int_from_float":
            return f"must be a whole number{shown}"
        case "bool_type" | "bool_parsing":
            return f"must be true or false{shown}"
        case "string_type":
            return f"must be text{shown}" + ("; quote it" if shown and given is not None else "")
        case "tuple_type" | "list_type":
            return f"must be a list (lines that begin with -){shown}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"must be keys and values{shown}"
        case "enum" | "literal_error":
            return f"must be one of {context['expected']}{shown}"
        case "greater_than_equal":
            return f"must be at least {context['ge']}{shown}"
        case "less_than_equal":
            return f"must be at most {context['le']}{shown}"
        case "value_error":
            return str(context["error"])
        case _:
            return details["msg"] + shown


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    text = str(value) if isinstance(value, int) else repr(str(value))
    return text if len(text) <= 60 else text[:57] + "…"


def _unknown_key(path: Path) -> str:
    section = _section_at(path[:-1])
    known = list(section.model_fields) if section else []
    close = difflib.get_close_matches(str(path[-1]), known, n=1)
    if close:
        return f"unknown key; did you mean {close[0]}?"
    return f"unknown key; remove it, or use one of: {', '.join(known)}"


def _description(path: Path) -> str:
    section = _section_at(path[:-1])
    found = section.model_fields.get(str(path[-1])) if section else None
    return found.description or "" if found else ""


def _section_at(path: Path) -> type[Section] | None:
    """The model of the section at `path`, through lists and optional types."""
    section: type[Section] | None = Config
    for part in path:
        if isinstance(part, int):
            continue
        found = section.model_fields.get(part) if section else None
        section = next(models_in(found.annotation), None) if found else None
    return section


def models_in(annotation: Any) -> Iterator[type[Section]]:
    """The sections in a type, through lists and optional types."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for argument in get_args(annotation):
        yield from models_in(argument)


def _secret_file_problems(part: Any, path: Path, document: YamlDocument) -> Iterator[Problem]:
    if isinstance(part, SecretFile):
        if problem := part.problem():
            yield Problem(document.where(path), problem)
    elif isinstance(part, Section):
        for key in type(part).model_fields:
            yield from _secret_file_problems(getattr(part, key), (*path, key), document)
    elif isinstance(part, tuple):
        for position, item in enumerate(part):
            yield from _secret_file_problems(item, (*path, position), document)
