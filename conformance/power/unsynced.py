"""The daemon without its syncs, so that the test of power cuts can prove that it would see what they are for.

``python -m conformance.power.unsynced`` is ``minicontainerd``, with the same flags, but nothing waits for the disk.
"""

from __future__ import annotations

import os
import sqlite3
from typing import Any

from minicontainerd.daemon import main
from minicontainerd.linux import files


class Careless(sqlite3.Connection):
    """A connection whose commits are not waited for, whatever it is told."""

    def executescript(self, script: str) -> sqlite3.Cursor:
        return super().executescript(script.replace("synchronous=FULL", "synchronous=OFF"))

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        return super().execute(statement.replace("synchronous = FULL", "synchronous = OFF"), *values)


def forget_to_sync() -> None:
    """From now on this process syncs nothing."""
    connect = sqlite3.connect
    os.fsync = os.fdatasync = lambda descriptor: None  # type: ignore[assignment]
    files.syncfs = lambda descriptor: None
    sqlite3.connect = lambda *words, **options: connect(*words, factory=Careless, **options)  # type: ignore[assignment]


if __name__ == "__main__":
    forget_to_sync()
    main.main()
