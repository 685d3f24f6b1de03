"""Download links that need no token: whoever has the link may fetch this one result, and nothing else.

`bacalhau job get` fetches results without sending its token, so the right to do so stands in the link: an HMAC over the
execution's ID with a key that only this sidecar has. Execution IDs are shown in lists and logs; they alone open nothing.
Links have no end. Removing `link.key` in data_dir and starting again makes all of them worthless.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

__all__ = ["RESULTS_PATH", "ResultLinks"]

RESULTS_PATH: Final = "/api/v1/sp/results"


class ResultLinks:
    """Makes links and knows its own."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def path_of(self, execution_id: str) -> str:
        """Path and query. The path ends in `.tar.gz`, by which Bacalhau's client knows what it is."""
        return f"{RESULTS_PATH}/{execution_id}.tar.gz?sig={self._signature(execution_id)}"

    def is_ours(self, execution_id: str, signature: str) -> bool:
        """Whether `signature` came with a link to this execution."""
        return hmac.compare_digest(
            self._signature(execution_id).encode(), signature.encode("utf-8", "replace")
        )

    def _signature(self, execution_id: str) -> str:
        text = f"sp-plugin result link 1: {execution_id}"
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()
