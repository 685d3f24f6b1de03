"""What the demo prints while it runs: one line for each step, with its time, and what is being waited for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

__all__ = ["Show"]


class Show:
    """Prints to a terminal or a log; on a terminal, what is going on now has a moving line."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console if console is not None else Console(highlight=False, soft_wrap=True)
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the show began."""
        return time.monotonic() - self._started

    def chapter(self, title: str) -> None:
        """A heading."""
        self.console.print(f"\n[bold]{title}[/bold]")

    def done(self, what: str, detail: str = "") -> None:
        """A step that is over."""
        self.console.print(f"[dim]{self.seconds:6.1f} s[/dim]  [green]✓[/green] {what}", end="")
        self.console.print(f"  [cyan]{detail}[/cyan]" if detail else "", markup=True)

    def note(self, text: str) -> None:
        """Something to know, e.g. what is left out here and why."""
        self.console.print(f"[dim]{self.seconds:6.1f} s[/dim]  [yellow]·[/yellow] {text}")

    def output(self, text: str) -> None:
        """Lines that a program printed."""
        for line in text.rstrip().splitlines():
            self.console.print(f"          [dim]|[/dim] {line}", markup=True, highlight=False)

    def command(self, *words: str) -> None:
        """A command as one would type it."""
        self.console.print(f"          [dim]$[/dim] {' '.join(words)}", markup=True)

    def waiting(self, what: str) -> AbstractContextManager[object]:
        """A spinner while something is waited for, on a terminal only."""
        if not self.console.is_terminal:
            return nullcontext()
        return self.console.status(f"waiting for {what}")

    @contextmanager
    def epochs(self, title: str, first: int, last: int) -> Iterator[EpochsBar]:
        """A bar of epochs being mined, on a terminal only."""
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("epoch {task.fields[epoch]}"),
        )
        with Progress(
            *columns, console=self.console, transient=True, disable=not self.console.is_terminal
        ) as progress:
            yield EpochsBar(progress, title, first, last)


class EpochsBar:
    """Where mining is, between the first and the last epoch of a step."""

    def __init__(self, progress: Progress, title: str, first: int, last: int) -> None:
        self._progress = progress
        self._first = first
        self._task = progress.add_task(title, total=max(last - first, 1), epoch=first)

    def at(self, epoch: int) -> None:
        """Move to an epoch."""
        self._progress.update(self._task, completed=epoch - self._first, epoch=epoch)
