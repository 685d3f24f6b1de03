"""Reading files that people hand to commands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from lotus_client.json_text import read_json
from sp_plugin.config.yaml_lines import read_yaml
from sp_plugin.errors import BadInput, ConfigError

__all__ = ["read_structure", "read_text"]

_MOST = 10 << 20


def read_text(file: Path) -> str:
    """The text of a file, or of standard input for `-`.

    Raises:
        BadInput: missing, too large or not UTF-8.
    """
    try:
        if str(file) == "-":
            raw = sys.stdin.buffer.read(_MOST + 1)
        else:
            with file.open("rb") as stream:
                raw = stream.read(_MOST + 1)
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror}") from error
    if len(raw) > _MOST:
        raise BadInput(f"{file} is larger than {_MOST} bytes")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"{file} is not UTF-8 text") from error


def read_structure(file: Path, what: str) -> dict[str, Any]:
    """The object in a YAML or JSON file.

    Raises:
        BadInput, ConfigError: it cannot be read; names the line.
    """
    text = read_text(file)
    if text.lstrip().startswith("{"):
        try:
            value = read_json(text)
        except ValueError as error:
            raise BadInput(f"{file} is not JSON: {error}") from error
    else:
        document = read_yaml(text, str(file))
        if document.problems:
            raise ConfigError(document.problems)
        value = document.value
    if not isinstance(value, dict):
        raise BadInput(f"{file} holds no {what}: keys and values are expected")
    return value
