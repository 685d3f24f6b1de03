"""Whether an answer has the shape that Lotus' own OpenRPC document gives the method.

The documents are reflected from Go types: a type with its own JSON form (big integers, CIDs, addresses, bitfields, tipset
keys) is described wrongly by its schema and rightly by the example beside it. So where schema and example disagree
the example is believed, and a field of the example must be present in the answer.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import jsonschema

_DATA = Path(__file__).parents[2] / "data"

# Go's `omitempty`, and fields that are absent rather than null when there is nothing.
_MAY_BE_ABSENT = frozenset({"InvokedActor", "Logs", "IpldOps", "Subcalls"})


def load_document(name: str) -> dict[str, dict[str, Any]]:
    """Lotus' method descriptions by full name, of `v0-gateway`, `v1-full`, `v2-full` or `miner`."""
    return {method["name"]: method for method in _read("lotus-openrpc", name)["methods"]}


def load_forest(version: int) -> dict[str, dict[str, Any]]:
    """Forest's method descriptions by full name, their results with the schemas that they refer to."""
    document = _read("forest-openrpc", f"v{version}")
    shared = {"components": document["components"]}
    return {
        # a schema may also be the bare `true`
        method["name"]: method | {"result": {"allOf": [method["result"]["schema"]]} | shared}
        for method in document["methods"]
    }


def _read(folder: str, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(
        gzip.decompress((_DATA / folder / f"{name}.json.gz").read_bytes())
    )
    return document


def check_params(method: dict[str, Any], params: list[Any]) -> None:
    """Return if `params` are as many and of the shapes that Lotus' document gives the method."""
    described = method["params"]
    assert len(params) == len(described), f"{len(params)} parameters, not {len(described)}"
    for param, value in zip(described, params, strict=True):
        if param["description"] == "json.RawMessage":
            continue  # any JSON
        schema = param["schema"]
        example = (schema.get("examples") or [None])[0]
        jsonschema.validate(value, _input(_amended(schema, example)))


def _input(shape: dict[str, Any]) -> dict[str, Any]:
    """The shape as a caller may write it: fields may be left out, and other ones are not read."""
    open_shape = {
        key: value
        for key, value in shape.items()
        if key not in ("required", "additionalProperties")
    }
    if "properties" in shape:
        open_shape["properties"] = {
            name: _input(inner) for name, inner in shape["properties"].items()
        }
    if isinstance(shape.get("items"), dict):
        open_shape["items"] = _input(shape["items"])
    return open_shape


def check_forest(method: dict[str, Any], params: list[Any], result: Any) -> None:
    """Return if a call and its answer fit Forest's description of the method."""
    required = sum(param.get("required", False) for param in method["params"])
    assert required <= len(params) <= len(method["params"]), "another number of parameters"
    jsonschema.validate(result, method["result"])


def check_result(method: dict[str, Any], result: Any) -> None:
    """Return if `result` fits the method's schema amended by its example; else jsonschema's error."""
    schema = method["result"]["schema"]
    examples = schema.get("examples") or [None]
    jsonschema.validate(result, _amended(schema, examples[0]))


def _amended(schema: dict[str, Any], example: Any) -> dict[str, Any]:
    if isinstance(example, dict):
        return _object(schema, example)
    if isinstance(example, list):
        items = schema.get("items")
        inner = items if isinstance(items, dict) else {}
        shape: dict[str, Any] = {"type": ["array", "null"]}
        if example:
            shape["items"] = _amended(inner, example[0])
        return shape
    if isinstance(example, bool):
        return {"type": "boolean"}
    if isinstance(example, int | float):
        return {"type": "number"}
    if isinstance(example, str):
        return {"type": ["string", "null"]}
    return _without_example(schema)


def _without_example(schema: dict[str, Any]) -> dict[str, Any]:
    if schema.get("title") == "Content Identifier":
        return {"type": ["object", "null"], "required": ["/"], "additionalProperties": False,
                "properties": {"/": {"type": "string"}}}  # fmt: skip
    if schema.get("title") == "number":
        return {"type": "number"}
    properties = schema.get("properties")
    if not properties:
        return {}  # an object without fields stands for any type with its own JSON form
    return {
        "type": ["object", "null"],
        "properties": {name: _without_example(inner) for name, inner in properties.items()},
        "required": sorted(properties),
        "additionalProperties": False,
    }


def _object(schema: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    if patterns := schema.get("patternProperties"):  # a Go map
        inner = _amended(next(iter(patterns.values())), next(iter(example.values()), None))
        return {"type": "object", "additionalProperties": inner}
    if not example or example == {"abc": 123}:  # the documents' example of a map of anything
        return {"type": ["object", "null"]}
    properties = schema.get("properties", {})
    if properties.keys().isdisjoint(example) and not _names_fields(example):
        inner = _amended({}, next(iter(example.values())))  # a map: its example key is any key
        return {"type": ["object", "null"], "additionalProperties": inner}
    known = {name: _amended(properties.get(name, {}), value) for name, value in example.items()}
    return {
        "type": ["object", "null"],
        "properties": known,
        "required": sorted(known.keys() - _MAY_BE_ABSENT),
        "additionalProperties": bool(properties.keys() - known.keys() - {"Metadata"}),
    }


def _names_fields(example: dict[str, Any]) -> bool:
    return all(key == "/" or key[:1].isalpha() for key in example)
