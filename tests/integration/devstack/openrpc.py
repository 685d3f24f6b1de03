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

_DATA = Path(__file__).parents[2] / "data" / "lotus-openrpc"

# Go's `omitempty`, and fields that are absent rather than null when there is nothing.
_MAY_BE_ABSENT = frozenset({"InvokedActor", "Logs", "IpldOps", "Subcalls"})


def load_document(name: str) -> dict[str, dict[str, Any]]:
    """Method descriptions by full name, of `v1-full`, `v2-full` or `miner`."""
    document = json.loads(gzip.decompress((_DATA / f"{name}.json.gz").read_bytes()))
    return {method["name"]: method for method in document["methods"]}


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
    if not example:
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
