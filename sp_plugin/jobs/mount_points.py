"""Whether the places that a job wants its inputs and outputs at are apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

__all__ = ["clashes"]


def clashes(places: Sequence[tuple[str, str]]) -> list[str]:
    """What is wrong with (name, absolute path) pairs: two at one path, or one inside another; each pair once.

    One inside another is refused, too: inputs are read-only, so nothing can be mounted in them that they do not hold.
    """
    found: list[str] = []
    first: dict[PurePosixPath, str] = {}
    for name, text in places:
        path = PurePosixPath(text)
        if path in first:
            found.append(f"{first[path]} and {name} are both {path}; give each its own place")
        else:
            first[path] = name
    for path, name in first.items():
        around = next((parent for parent in path.parents if parent in first), None)
        if around is not None:
            found.append(
                f"{name} ({path}) lies inside {first[around]} ({around}); put them beside each other"
            )
    return found
