"""The configured places where pieces are read."""

from __future__ import annotations

from deals.sources import PieceSource, make_source
from deals.sources.several import SeveralSources
from deals.sources.storage_path import StoragePathSource
from sp_plugin.config.sections import ProviderConfig
from sp_plugin.errors import BadInput

__all__ = ["piece_source"]


def piece_source(provider: ProviderConfig, sector_size: int) -> PieceSource | None:
    """The configured places where pieces are read, as one; None if there are none.

    Raises:
        BadInput: a source's kind or options are wrong.
    """
    sources: list[PieceSource] = []
    if provider.storage_paths:
        sources.append(StoragePathSource(provider.storage_paths, sector_size))
    for position, item in enumerate(provider.sources):
        try:
            sources.append(make_source(item.kind, item.options))
        except ValueError as error:
            raise BadInput(str(error), field=f"provider.sources[{position}]") from error
    return SeveralSources(sources) if sources else None
