"""What the lines of the workload promise, and what is there. Imports next to nothing: it runs in a slow guest too.

What was begun and not acknowledged may be either way; all else must be as its last line says.
"""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path


def present(root: Path) -> Iterator[str]:
    """What the database has, as it is written after ``is``."""
    database = sqlite3.connect(root / "metadata.db")
    with contextlib.closing(database):
        for kind, column, table in (("image", "name", "images"), ("container", "id", "containers")):
            yield from (f"{kind} {name}" for (name,) in database.execute(f"SELECT {column} FROM {table}"))
        yield from (f"snapshot {key}" for (key,) in database.execute("SELECT key FROM snapshots"))


def broken_promises(lines: Iterable[str], present: set[str]) -> list[str]:
    """What the *lines* of :func:`work` say, and is not so; what was begun last may be either way."""
    last: dict[str, str] = {}
    for line in lines:
        word, _, thing = line.partition(" ")
        last[thing] = word
    lost = [f"acknowledged and lost: {thing}" for thing, word in last.items() if word == "is" and thing not in present]
    back = [f"removed and back: {thing}" for thing, word in last.items() if word == "gone" and thing in present]
    return lost + back


if __name__ == "__main__":
    print("\n".join(present(Path(sys.argv[1]))))
