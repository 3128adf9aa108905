"""Progress of long work: bars on a terminal, one plain line a change elsewhere."""

from __future__ import annotations

import sys
import threading
from types import TracebackType

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

WIDTH = 16
"""Of a digest, so many digits are shown."""


class ProgressReport:
    """Called with each step of a pull: *ref* is at *offset* of *total* bytes. Any thread may call it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._said: dict[str, str] = {}
        self._bars: dict[str, TaskID] = {}
        self._progress: Progress | None = None
        if sys.stdout.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
            self._progress = Progress(*columns, TextColumn("{task.fields[status]}"), console=Console())

    def __call__(self, ref: str, status: str, offset: int, total: int) -> None:
        with self._lock:
            if self._progress is not None:
                self._move_bar(self._progress, ref, status, offset, total)
            elif self._said.get(ref) != status:
                self._said[ref] = status
                click.echo(f"{ref}: {status}")

    def _move_bar(self, progress: Progress, ref: str, status: str, offset: int, total: int) -> None:
        if ref not in self._bars:
            self._bars[ref] = progress.add_task(_short(ref), total=total or None, status=status)
        progress.update(self._bars[ref], completed=offset, total=total or 1, status=status)

    def __enter__(self) -> ProgressReport:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()


def _short(ref: str) -> str:
    name, colon, digits = ref.partition("sha256:")
    return name + colon + digits[:WIDTH] if colon and name else ref
