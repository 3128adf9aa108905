"""What a snapshotter remembers: one SQLite file beside its directories, one row a snapshot.

The number in a row names the directory that the row is about (``snapshots/7``). SQLite never gives a number out
twice (AUTOINCREMENT), so a leftover directory is never mistaken for a new one. A directory is made before its row and
deleted after it: what has no row is garbage, and what has a row is there.

Every public method here is one transaction. Writers take turns by ``BEGIN IMMEDIATE``, also across processes; a
snapshotter does its work on the directories inside :meth:`Records.writing`, so that both happen or neither. That may
take long, so readers have a connection of their own, and see the last committed state meanwhile.

Source: containerd@301026e core/snapshots/storage/bolt.go (rules and error words); it uses a bbolt file.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from minicontainerd.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from minicontainerd.snapshot.snapshotter import Info, Kind, Usage
from minicontainerd.store.database import commit

SCHEMA = """
-- One row a snapshot. Names of committed snapshots and keys of the others share one name space.
CREATE TABLE IF NOT EXISTS snapshots (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,            -- names the directory, and is never used again
    name    TEXT    NOT NULL UNIQUE,
    parent  INTEGER REFERENCES snapshots (id),            -- always committed; NULL is the empty directory
    kind    INTEGER NOT NULL CHECK (kind IN (1, 2, 3)),   -- 1 view, 2 active, 3 committed
    labels  TEXT    NOT NULL,                             -- a JSON object
    size    INTEGER NOT NULL DEFAULT 0,                   -- bytes and inodes as of the commit
    inodes  INTEGER NOT NULL DEFAULT 0,
    created INTEGER NOT NULL,                             -- nanoseconds since 1970, UTC
    updated INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS children ON snapshots (parent);
PRAGMA user_version = 1;
"""


@dataclass(frozen=True)
class Record:
    """A row, with the numbers of all parents, nearest first."""

    id: int
    info: Info
    usage: Usage
    parent_ids: tuple[int, ...]


def _time(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds // 1000 / 1_000_000, UTC)


def _labels(labels: Mapping[str, str] | None) -> str:
    """As JSON; a label without a value is no label."""
    return json.dumps({key: value for key, value in (labels or {}).items() if value})


class Records:
    """The database of one snapshotter; safe for threads, which take turns."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()  # held for as long as a writer writes
        self._glance = threading.Lock()  # held for one query by a reader, who sees the state before the writer's
        self._writer, self._reader = (
            sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30) for _ in range(2)
        )
        self._writer.execute("PRAGMA journal_mode = WAL")
        self._writer.execute("PRAGMA synchronous = FULL")  # a commit that was answered survives a power cut
        self._writer.execute("PRAGMA foreign_keys = ON")
        self._writer.executescript(SCHEMA)
        self._writing: int | None = None  # the thread that is inside a transaction

    def close(self) -> None:
        """Close the file; closing twice is no error."""
        with self._lock, self._glance:
            self._reader.close()
            self._writer.close()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction around the block: what it wrote is kept if the block ends well, else undone."""
        with self._lock:
            if self._writing:  # this thread is already inside one: the outermost decides
                yield
                return
            self._writer.execute("BEGIN IMMEDIATE")
            self._writing = threading.get_ident()
            try:
                yield
                commit(self._writer)
            except BaseException:
                self._writer.execute("ROLLBACK")
                raise
            finally:
                self._writing = None

    def _query(self, statement: str, *values: object) -> list[Any]:
        if self._writing == threading.get_ident():
            return self._writer.execute(statement, values).fetchall()
        with self._glance:
            return self._reader.execute(statement, values).fetchall()

    def get(self, key: str) -> Record:
        """The snapshot of that name or key. Raises NotFound."""
        row = self._row(key)
        if row is None:
            raise NotFound("snapshot does not exist")
        return self._record(row)

    def get_mountable(self, key: str) -> Record:
        """As :meth:`get`, for a snapshot that has mounts. Raises FailedPrecondition for a committed one."""
        record = self.get(key)
        if record.info.kind is Kind.COMMITTED:
            raise FailedPrecondition(f"requested snapshot {key} not active or view")
        return record

    def create(self, kind: Kind, key: str, parent: str, labels: Mapping[str, str] | None) -> Record:
        """Add an active snapshot or a view."""
        with self.writing():
            parent_id = None
            if parent:
                above = self._row(parent)
                if above is None:
                    raise NotFound(f'missing parent "{parent}" bucket')
                if above[3] != Kind.COMMITTED:
                    raise InvalidArgument(f'parent "{parent}" is not committed snapshot')
                parent_id = above[0]
            if self._row(key):
                raise AlreadyExists(f"snapshot {key}")
            now = time.time_ns()
            self._writer.execute(
                "INSERT INTO snapshots (name, parent, kind, labels, created, updated) VALUES (?, ?, ?, ?, ?, ?)",
                (key, parent_id, kind, _labels(labels), now, now),
            )
            return self.get(key)

    def commit(self, key: str, name: str, usage: Usage, labels: Mapping[str, str] | None) -> None:
        """Turn the active snapshot *key* into the committed *name*; the number, and so the directory, stays."""
        with self.writing():
            if self._row(name):
                raise AlreadyExists(f"committed snapshot {name}")
            row = self._row(key)
            if row is None:
                raise NotFound(f'failed to get active snapshot "{key}"')
            if row[3] != Kind.ACTIVE:
                raise FailedPrecondition(f'snapshot "{key}" is not active')
            now = time.time_ns()
            self._writer.execute(
                "UPDATE snapshots SET name=?, kind=?, labels=?, size=?, inodes=?, created=?, updated=? WHERE id=?",
                (name, Kind.COMMITTED, _labels(labels), usage.size, usage.inodes, now, now, row[0]),
            )

    def remove(self, key: str) -> int:
        """Delete the row; the number that is returned names what is to be deleted next."""
        with self.writing():
            row = self._row(key)
            if row is None:
                raise NotFound(f"snapshot {key}")
            if self._query("SELECT 1 FROM snapshots WHERE parent = ?", row[0]):
                raise FailedPrecondition("cannot remove snapshot with child")
            self._writer.execute("DELETE FROM snapshots WHERE id = ?", (row[0],))
            return int(row[0])

    def update(self, name: str, labels: Mapping[str, str], fields: tuple[str, ...] | None) -> Info:
        """Change labels, as :meth:`Snapshotter.update` says."""
        with self.writing():
            merged = dict(self.get(name).info.labels)
            for path in fields or ("labels",):
                if path == "labels":
                    merged = dict(labels)
                elif path.startswith("labels."):
                    key = path.removeprefix("labels.")
                    merged[key] = labels.get(key, "")
                else:
                    raise InvalidArgument(f'cannot update "{path}" field on snapshot "{name}"')
            statement = "UPDATE snapshots SET labels = ?, updated = ? WHERE name = ?"
            self._writer.execute(statement, (_labels(merged), time.time_ns(), name))
            return self.get(name).info

    def walk(self) -> list[Record]:
        """All rows, ordered by name."""
        return [self._record(row) for row in self._query(f"{_SELECT} ORDER BY s.name")]

    def ids(self) -> set[int]:
        """The numbers in use: the directories that are not garbage."""
        return {number for (number,) in self._query("SELECT id FROM snapshots")}

    def _row(self, name: str) -> _Row | None:
        rows: list[_Row] = self._query(f"{_SELECT} WHERE s.name = ?", name)
        return rows[0] if rows else None

    def _record(self, row: _Row) -> Record:
        number, name, parent, kind, labels, size, inodes, created, updated, parent_name = row
        chain = self._query(_CHAIN, parent)
        info = Info(name, parent_name or "", Kind(kind), _time(created), _time(updated), json.loads(labels))
        return Record(number, info, Usage(size, inodes), tuple(above for (above,) in chain))


_Row = tuple[int, str, int | None, int, str, int, int, int, int, str | None]
_SELECT = """
    SELECT s.id, s.name, s.parent, s.kind, s.labels, s.size, s.inodes, s.created, s.updated, p.name
    FROM snapshots s LEFT JOIN snapshots p ON p.id = s.parent"""
_CHAIN = """
    WITH RECURSIVE chain (id, parent, depth) AS (
        SELECT id, parent, 0 FROM snapshots WHERE id = ?
        UNION ALL SELECT s.id, s.parent, depth + 1 FROM snapshots s JOIN chain ON s.id = chain.parent)
    SELECT id FROM chain ORDER BY depth"""
