"""What jobs may name on this provider: the registered engines, sources and publishers with the shape of their params."""

from __future__ import annotations

from sp_plugin.executors import EXECUTORS, load_executors
from sp_plugin.inputs import SOURCES, load_sources
from sp_plugin.jobs.reading import Kinds
from sp_plugin.publishers import PUBLISHERS, load_publishers

__all__ = ["load_kinds"]


def load_kinds(*, without_engines: frozenset[str] = frozenset()) -> Kinds:
    """All kinds that are registered in the three packages, without engines that the operator left switched off."""
    load_executors()
    load_sources()
    load_publishers()
    return Kinds(
        engines={
            name: factory.params
            for name, factory in EXECUTORS.items()
            if name not in without_engines
        },
        sources={name: source.params for name, source in SOURCES.items()},
        publishers={name: publisher.params for name, publisher in PUBLISHERS.items()},
    )
