"""What Prometheus reads at `/metrics`. One registry per process; names begin with `sp_plugin_`."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = [
    "CHAIN_EPOCH",
    "EVENT_SOURCE",
    "GUARD_STATE",
    "GUARD_STOPS",
    "HTTP_REQUESTS",
    "JOBS",
    "PIECES",
    "READY",
    "STEP_ERRORS",
    "STEP_SECONDS",
    "UNKNOWN_EPOCHS",
    "metrics_text",
]

_registry: Final = CollectorRegistry()

STEP_ERRORS: Final = Counter(
    "sp_plugin_step_errors",
    "Rounds of a periodic step that failed",
    ["step", "error"],
    registry=_registry,
)
STEP_SECONDS: Final = Histogram(
    "sp_plugin_step_seconds",
    "Duration of one round of a periodic step",
    ["step"],
    buckets=(0.01, 0.1, 1, 10, 60, 600),
    registry=_registry,
)
HTTP_REQUESTS: Final = Counter(
    "sp_plugin_http_requests",
    "HTTP requests answered",
    ["method", "route", "status"],
    registry=_registry,
)
CHAIN_EPOCH: Final = Gauge(
    "sp_plugin_chain_epoch", "Last epoch taken over from the node", ["kind"], registry=_registry
)
EVENT_SOURCE: Final = Gauge(
    "sp_plugin_event_source",
    "1 for the source that events are read from",
    ["source"],
    registry=_registry,
)
UNKNOWN_EPOCHS: Final = Gauge(
    "sp_plugin_unknown_epochs",
    "Epochs of which something could not be read: chain (blocks won and events) or events",
    ["kind"],
    registry=_registry,
)
PIECES: Final = Gauge("sp_plugin_held_pieces", "Held pieces known", registry=_registry)
JOBS: Final = Gauge("sp_plugin_jobs", "Jobs by state", ["state"], registry=_registry)
GUARD_STATE: Final = Gauge(
    "sp_plugin_guard_state",
    "1 for what jobs may do now: run, no_starts, frozen or stop",
    ["state"],
    registry=_registry,
)
GUARD_STOPS: Final = Counter(
    "sp_plugin_guard_stops",
    "Times that jobs were ended to give way",
    registry=_registry,
)
READY: Final = Gauge("sp_plugin_ready", "1 while the part works", ["part"], registry=_registry)


def metrics_text() -> bytes:
    """The current values in Prometheus' text format."""
    return generate_latest(_registry)
