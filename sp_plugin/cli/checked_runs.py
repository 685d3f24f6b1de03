"""`--verify N`: the wish to have a job run again to check it, put into the job itself so that approvers sign it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

__all__ = ["VerifyOption", "ask_to_verify"]

VerifyOption = Annotated[
    int | None,
    typer.Option(
        "--verify", min=1, max=10, help="Run it so many more times; unequal results void it."
    ),
]


def ask_to_verify(job: dict[str, Any], times: int | None) -> None:
    """Write it into the job's Meta; None asks for nothing.

    Raises:
        BadInput: the job is not of a form that can say so.
    """
    from sp_plugin.errors import BadInput

    if times is None:
        return
    inner = next((job[key] for key in job if len(job) == 1 and str(key).casefold() == "job"), job)
    if not isinstance(inner, dict):
        raise BadInput("the job is not a map")
    key = next((key for key in inner if str(key).casefold() == "meta"), "Meta")
    meta = inner[key] if inner.get(key) is not None else {}
    if not isinstance(meta, dict):
        raise BadInput("the job's Meta is not a map")
    inner[key] = meta | {"filecoin.verify": str(times)}
