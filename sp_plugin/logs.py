"""Structured logs on standard error: an event name and fields, for people or as JSON, with tokens blacked out.

Write `log.info("job_started", job_id=…, epoch=…)`: no sentences built from values.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, Literal, TextIO

import structlog

from lotus_client.secrets import redact as redact_tokens

__all__ = ["configure_logs", "redact"]

# Our own API tokens and what follows "Bearer"; the node's tokens are known to `lotus_client`.
_SECRETS: Final = re.compile(r"spt_[\w-]{20,}|(?<=[Bb]earer )[\w.~+/=-]{8,}")
_SECRET_KEYS: Final = frozenset({"token", "secret", "password", "private_key", "authorization"})
_MAX_DEPTH: Final = 6


def redact(value: Any, _depth: int = 0) -> Any:
    """`value` with everything that looks like a token replaced by `***`."""
    if isinstance(value, str):
        return _SECRETS.sub("***", redact_tokens(value))
    if isinstance(value, int | float | bool | None):
        return value
    if isinstance(value, Mapping) and _depth < _MAX_DEPTH:
        return {
            key: "***" if str(key).lower() in _SECRET_KEYS and item else redact(item, _depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple) and _depth < _MAX_DEPTH:
        return [redact(item, _depth + 1) for item in value]
    return redact(str(value))


def configure_logs(
    level: Literal["debug", "info", "warning", "error"] = "info",
    form: Literal["console", "json"] = "console",
    stream: TextIO | None = None,
) -> None:
    """Set up structlog for this process; the libraries' own loggers join it from `warning` on."""
    out = stream or sys.stderr
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _redacted,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=out.isatty())
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)


def _redacted(
    _logger: Any, _name: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    return {
        key: item if key in ("timestamp", "level") else redact({key: item})[key]
        for key, item in event.items()
    }
