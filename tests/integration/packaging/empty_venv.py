"""An environment with the distributions that a wheel needs and no others, made without the network.

Each distribution that this test environment has is linked into the new one file by file, if it is among the dependencies.
"""

from __future__ import annotations

import zipfile
from email.parser import HeaderParser
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def needed_distributions(wheel: Path, *others: str) -> dict[str, Distribution]:
    """The wheel's dependencies and these others, with all that they need in turn, by canonical name."""
    found: dict[str, Distribution] = {}
    waiting = [*_wheel_requires(wheel), *map(Requirement, others)]
    while waiting:
        wanted = waiting.pop()
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        name = canonicalize_name(wanted.name)
        known = name in found
        if not known:
            found[name] = distribution(wanted.name)
        for extra in ("", *wanted.extras):
            if known and not extra:
                continue
            for text in found[name].requires or ():
                inner = Requirement(text)
                if inner.marker is None or inner.marker.evaluate({"extra": extra}):
                    waiting.append(_without_marker(inner))
    return found


def link_distributions(distributions: dict[str, Distribution], site: Path) -> None:
    """Link every file of these distributions into a site-packages directory; scripts are left out."""
    for found in distributions.values():
        _link_old_form(found, site)
        for file in found.files or ():
            source = Path(str(file.locate()))
            if file.parts[0] == ".." or file.suffix == ".pyc" or not source.is_file():
                continue
            target = site.joinpath(*file.parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                target.symlink_to(source)


def _link_old_form(found: Distribution, site: Path) -> None:
    """A distribution that pip installed by its setup.py, where the package `wheel` was missing, lists no files of its own."""
    info = (
        Path(str(found.locate_file("")))
        / f"{found.name.replace('-', '_')}-{found.version}.egg-info"
    )
    if not info.is_dir():
        return
    modules = (found.read_text("top_level.txt") or "").split()
    for name in (info.name, *modules, *(f"{module}.py" for module in modules)):
        source, target = info.parent / name, site / name
        if source.exists() and not target.exists():
            target.symlink_to(source)


def _wheel_requires(wheel: Path) -> list[Requirement]:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = HeaderParser().parsestr(archive.read(name).decode())
    return [Requirement(text) for text in metadata.get_all("Requires-Dist") or ()]


def _without_marker(requirement: Requirement) -> Requirement:
    """A requirement whose marker was found to hold; asking again without its extra would say no."""
    requirement.marker = None
    return requirement
