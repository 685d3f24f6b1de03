"""A job from YAML or JSON text, or from values that were JSON: every wrong field at once, with its path and line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from lotus_client.json_text import JsonTooDeep, read_json
from sp_plugin.config.yaml_lines import Path, YamlDocument, format_path, read_yaml
from sp_plugin.errors import ExitCode, Problem, SpPluginError
from sp_plugin.jobs.params import Params, WireModel
from sp_plugin.jobs.spec import InputSourceSpec, JobSpec, SpecConfig, Task, WasmParams

__all__ = [
    "MAX_JSON_BYTES",
    "JobSpecError",
    "Kinds",
    "ReadJob",
    "params_of",
    "read_job",
    "read_job_values",
]

MAX_JSON_BYTES: Final = 16 << 20  # a job may carry its module inline
_MAX_DEPTH: Final = 32
_MAX_NODES: Final = 100_000
_SERVER_KEYS: Final = ("ID", "State", "Revision", "Version", "CreateTime", "ModifyTime")
_OWN_META: Final = "bacalhau.org/"


class JobSpecError(SpPluginError):
    """A description that cannot be used; `problems` lists all that is wrong with it."""

    exit_code = ExitCode.BAD_INPUT

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, problems)))


@dataclass(frozen=True, slots=True)
class Kinds:
    """The engines, sources and publishers of this provider: the params of each, by type name."""

    engines: Mapping[str, type[Params]]
    sources: Mapping[str, type[Params]]
    publishers: Mapping[str, type[Params]]

    def of(self, group: str) -> Mapping[str, type[Params]]:
        """The kinds of `engine`, `source` or `publisher`."""
        return {
            "engine": self.engines,
            "source": self.sources,
            "publisher": self.publishers,
        }[group]


@dataclass(frozen=True, slots=True)
class ReadJob:
    """A job that can be used, and what its author should hear anyway."""

    spec: JobSpec
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class _Reading:
    document: YamlDocument
    kinds: Kinds
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def wrong(self, path: Path, message: str) -> None:
        """Note a problem; of several at one path the first is kept."""
        where = self.document.where(path)
        if all(problem.where != where for problem in self.problems):
            self.problems.append(Problem(where, message))


def read_job(text: str, kinds: Kinds, name: str = "job") -> ReadJob:
    """The job in a YAML or JSON document; `name` stands before each line in messages.

    Raises:
        JobSpecError: everything that is wrong with it.
    """
    is_json = text.lstrip().startswith("{")
    document = _read_json(text, name) if is_json else read_yaml(text, name)
    if document.problems:
        raise JobSpecError(document.problems)
    return _read(document, kinds)


def read_job_values(values: Any, kinds: Kinds) -> ReadJob:
    """The job in values that came as JSON, e.g. the `Job` of a request.

    Raises:
        JobSpecError: everything that is wrong with it.
    """
    document = YamlDocument("job", value=values)
    if problem := _size_problem(values):
        raise JobSpecError([Problem("job", problem)])
    return _read(document, kinds)


def params_of(kinds: Kinds, group: str, config: SpecConfig) -> Params:
    """The typed params of an engine, source or publisher of a job that was read with the same kinds."""
    for name, model in kinds.of(group).items():
        if name.casefold() == config.kind:
            return model.model_validate(config.params)
    raise JobSpecError([Problem(group, f"unknown {group} {config.type!r}")])


def _read_json(text: str, name: str) -> YamlDocument:
    document = YamlDocument(name)
    if len(text) > MAX_JSON_BYTES:
        document.problems.append(Problem(name, f"is larger than {MAX_JSON_BYTES} bytes"))
        return document
    try:
        document.value = read_json(text, object_pairs_hook=_unique_keys)
    except _RepeatedKey as error:
        document.problems.append(Problem(name, f"the key {str(error)[:80]!r} stands twice"))
    except json.JSONDecodeError as error:
        where = f"{name}:{error.lineno}"
        document.problems.append(Problem(where, f"cannot be read as JSON: {error.msg}"))
    except JsonTooDeep:
        document.problems.append(Problem(name, f"is nested deeper than {_MAX_DEPTH}"))
    else:
        if problem := _size_problem(document.value):
            document.problems.append(Problem(name, problem))
    return document


class _RepeatedKey(Exception):
    pass


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        names = [key for key, _ in pairs]
        raise _RepeatedKey(next(key for key in names if names.count(key) > 1))
    return values


def _size_problem(value: Any) -> str | None:
    """Whether the values are too deep or too many to be a job."""
    pending, count = [(value, 0)], 0
    while pending:
        item, depth = pending.pop()
        count += 1
        if depth > _MAX_DEPTH:
            return f"is nested deeper than {_MAX_DEPTH}"
        if count > _MAX_NODES:
            return f"has more than {_MAX_NODES} values"
        if isinstance(item, dict):
            pending += [(child, depth + 1) for child in item.values()]
        elif isinstance(item, list):
            pending += [(child, depth + 1) for child in item]
    return None


def _read(document: YamlDocument, kinds: Kinds) -> ReadJob:
    document.lines = {_folded(path): line for path, line in document.lines.items()}
    reading = _Reading(_CaselessDocument(document), kinds)
    values = _unwrapped(document.value)
    if not isinstance(values, dict):
        raise JobSpecError([Problem(document.name, "is not a job: it must be a map with Tasks")])
    values = _without_server_fields(values, reading)
    spec = _validated(JobSpec, values, (), reading)
    for path, group, config in _configs(values):
        _check_config(path, group, config, reading)
    if spec is None or reading.problems:
        raise JobSpecError(reading.problems)
    if len(spec.tasks) > 1:
        reading.warnings.append(f"only the first of {len(spec.tasks)} tasks is kept")
    task = _normalised(spec.task, reading)
    if reading.problems:
        raise JobSpecError(reading.problems)
    return ReadJob(spec.model_copy(update={"tasks": [task]}), tuple(reading.warnings))


class _CaselessDocument(YamlDocument):
    """A document whose lines are found whatever the case of the keys."""

    def __init__(self, document: YamlDocument) -> None:
        super().__init__(document.name, document.value, document.lines)

    def where(self, path: Path) -> str:
        place = super().where(_folded(path))
        return place.replace(format_path(_folded(path)), format_path(path)) if path else place


def _folded(path: Path) -> Path:
    return tuple(part.casefold() if isinstance(part, str) else part for part in path)


def _unwrapped(value: Any) -> Any:
    """A request's body is `{"Job": {…}}`; people write the job itself."""
    if isinstance(value, dict) and len(value) == 1:
        ((key, inner),) = value.items()
        if str(key).casefold() == "job":
            return inner
    return value


def _without_server_fields(values: dict[str, Any], reading: _Reading) -> dict[str, Any]:
    kept = {}
    known = {key.casefold(): key for key in _SERVER_KEYS}
    for key, value in values.items():
        name = known.get(str(key).casefold())
        if name is None:
            kept[key] = value
        elif value not in (None, "", 0, {}):
            reading.warnings.append(f"{name} is set by the server; what was sent is ignored")
    meta_key = _key(kept, "Meta")
    meta = kept.get(meta_key) if meta_key else None
    if meta_key and isinstance(meta, dict):
        own = [key for key in meta if str(key).startswith(_OWN_META)]
        reading.warnings += [f"Meta {key} is set by the server and removed" for key in own]
        kept[meta_key] = {key: value for key, value in meta.items() if key not in own}
    return kept


def _validated(model: type[BaseModel], values: Any, path: Path, reading: _Reading) -> Any:
    """An instance, or `None` after noting what is wrong."""
    unknown: list[str] = []
    try:
        return model.model_validate(values, context={"unknown_keys": unknown})
    except ValidationError as error:
        for item in error.errors(include_url=False, include_context=True):
            reading.wrong((*path, *_without_branches(item["loc"])), _sentence(item))
        return None
    finally:
        reading.warnings += unknown


def _without_branches(location: tuple[str | int, ...]) -> Path:
    """pydantic adds the name of a union's branch to the path; only keys and positions are the author's."""
    return tuple(part for part in location if part not in {"str", "_OldModule"})


def _sentence(item: Any) -> str:
    if item["type"] == "missing":
        return "is missing"
    if item["type"] == "string_type":
        return "must be text; put it in quotes"
    if item["type"] == "too_long" and item["ctx"].get("max_length") == 0:
        return "is not offered by this provider; leave it out"
    message: str = item["msg"]
    return message if item["type"] == "job" else message[:1].lower() + message[1:]


def _key(values: Mapping[str, Any], name: str) -> str | None:
    return next((key for key in values if str(key).casefold() == name.casefold()), None)


def _get(values: Any, name: str) -> Any:
    if not isinstance(values, dict):
        return None
    key = _key(values, name)
    return None if key is None else values[key]


def _configs(values: Any) -> Iterator[tuple[Path, str, Any]]:
    """(path, group, raw value) of each engine, source and publisher that is there."""
    tasks = _get(values, "Tasks")
    for i, task in enumerate(tasks if isinstance(tasks, list) else []):
        here: Path = ("Tasks", i)
        engine = _get(task, "Engine")
        yield (*here, "Engine"), "engine", engine
        params: Path = (*here, "Engine", "Params")
        module = _get(_get(engine, "Params"), "EntryModule")
        if isinstance(module, dict):
            yield (*params, "EntryModule", "Source"), "source", _get(module, "Source")
        linked = _get(_get(engine, "Params"), "ImportModules")
        for j, item in enumerate(linked if isinstance(linked, list) else []):
            if isinstance(item, dict):
                yield (*params, "ImportModules", j, "Source"), "source", _get(item, "Source")
        publisher = _get(task, "Publisher")
        if _get(publisher, "Type"):
            yield (*here, "Publisher"), "publisher", publisher
        inputs = _get(task, "InputSources")
        for j, item in enumerate(inputs if isinstance(inputs, list) else []):
            yield (*here, "InputSources", j, "Source"), "source", _get(item, "Source")


def _check_config(path: Path, group: str, config: Any, reading: _Reading) -> None:
    kind = _get(config, "Type")
    if not isinstance(config, dict) or not isinstance(kind, str | None):
        return  # its structure was reported already
    known = reading.kinds.of(group)
    if not kind or not kind.strip():
        reading.wrong((*path, "Type"), f"is missing; one of {', '.join(sorted(known))}")
        return
    model = {name.casefold(): model for name, model in known.items()}.get(kind.strip().casefold())
    if model is None:
        message = f"unknown {group} {kind[:40]!r}; one of {', '.join(sorted(known))}"
        reading.wrong((*path, "Type"), message)
        return
    params = _get(config, "Params")
    _validated(model, {} if params is None else params, (*path, "Params"), reading)


def _normalised(task: Task, reading: _Reading) -> Task:
    """The task with old-form wasm modules made inputs of their own, and the engine's environment made the task's."""
    if task.engine.kind != "wasm":
        return task
    params = WasmParams.model_validate(task.engine.params)
    inputs = list(task.inputs)
    here: Path = ("Tasks", 0, "Engine", "Params")
    entry = _module_target(
        params.entry_module, "/wasm/entry.wasm", inputs, (*here, "EntryModule"), reading
    )
    linked = [
        _module_target(
            module, _alias_path(module), inputs, (*here, "ImportModules", number), reading
        )
        for number, module in enumerate(params.import_modules)
    ]
    if entry is None or None in linked:
        return task
    engine = {
        "EntryModule": entry,
        "Entrypoint": params.entry_point,
        "Parameters": params.parameters,
        "ImportModules": linked,
    }
    values = task.model_dump(by_alias=True) | {
        "Engine": {"Type": "wasm", "Params": engine},
        "Env": {**params.environment, **task.env},
        "InputSources": [_dump(item) for item in inputs],
    }
    checked: Task | None = _validated(Task, values, ("Tasks", 0), reading)
    return checked or task


def _alias_path(module: Any) -> str:
    """Where an old-form linked module goes that has no target: other modules import it by its alias."""
    return "" if isinstance(module, str) or not module.alias else "/" + module.alias.lstrip("/")


def _module_target(
    module: Any, default: str, inputs: list[InputSourceSpec], path: Path, reading: _Reading
) -> str | None:
    """The target of a module; one of the old form becomes an input. `None` after noting what is wrong."""
    if isinstance(module, str):
        target = "/" + module.strip().lstrip("/")
        if target in {item.target for item in inputs}:
            return target
        reading.wrong(path, f"no InputSource has the Target {module!r}")
        return None
    values = {
        "Source": module.source.model_dump(by_alias=True),
        "Alias": module.alias,
        "Target": module.target or default,
    }
    source = _validated(InputSourceSpec, values, path, reading)
    if source is None:
        return None
    inputs.append(source)
    target = source.target
    return str(target)


def _dump(model: WireModel) -> dict[str, Any]:
    return model.model_dump(by_alias=True)
