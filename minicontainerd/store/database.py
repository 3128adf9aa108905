"""The metadata database: one SQLite file, and the two ways to use it.

``with database.write() as tx`` is a transaction that nobody else writes beside: it commits at the end of the block,
or leaves no trace. ``with database.read() as tx`` sees one state of everything for as long as it lasts, and neither
waits for writers nor holds them up: that is what the write-ahead log is for.

Each thread has a connection of its own, since a SQLite connection is one conversation. ``synchronous=FULL`` makes a
commit wait for the disk: what a client was told is there after a power cut.

The schema is a list of numbered SQL files. ``PRAGMA user_version`` says which were applied; opening an older
database applies the rest, each in a transaction.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path

from minicontainerd.errors import FailedPrecondition
from minicontainerd.linux.tell import act

WAIT_FOR_WRITER = 30.0
"""Seconds that a writer waits for the one before it."""


class Database:
    """The database in the file *path*, made or brought up to date as needed.

    Raises:
        FailedPrecondition: it was written by a later version of this program.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mine = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._migrate()

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that may change things. Blocks while another one is open."""
        connection = self._connection()
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            commit(connection)
        except BaseException:
            connection.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A transaction that sees one state of everything and changes nothing."""
        connection = self._connection()
        connection.execute("BEGIN")
        try:
            yield connection
        finally:
            connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            for connection in self._all:
                connection.close()
            self._all.clear()
        self._mine = threading.local()

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._mine, "connection", None)
        if connection is None:
            # isolation_level None leaves transactions to us; close() may come from another thread
            connection = sqlite3.connect(
                self.path, timeout=WAIT_FOR_WRITER, isolation_level=None, check_same_thread=False
            )
            connection.row_factory = sqlite3.Row
            connection.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;")
            self._mine.connection = connection
            with self._lock:
                self._all.append(connection)
        return connection

    def _migrate(self) -> None:
        files = sorted(
            (file for file in (resources.files(__package__) / "schema").iterdir() if file.name.endswith(".sql")),
            key=lambda file: file.name,
        )
        version: int = self._connection().execute("PRAGMA user_version").fetchone()[0]
        if version > len(files):
            raise FailedPrecondition(
                f"{self.path} has schema version {version}, this program knows {len(files)}: use a newer one"
            )
        for number, file in list(enumerate(files, 1))[version:]:
            # executescript ends any transaction that is open, so the script brings its own
            self._connection().executescript(
                f"BEGIN IMMEDIATE; {file.read_text()}; PRAGMA user_version = {number}; COMMIT;"
            )


@act("COMMIT (SQL)")
def commit(connection: sqlite3.Connection) -> None:
    """End a transaction: what was written in it is kept, from now on also over a crash."""
    connection.execute("COMMIT")


def dump(labels: Mapping[str, str]) -> str:
    """Labels as they stand in a column."""
    return json.dumps(dict(labels), sort_keys=True)


def load(column: str) -> dict[str, str]:
    """The reverse of :func:`dump`."""
    labels: dict[str, str] = json.loads(column)
    return labels


class Numbers:
    """Numbers that were never given before, in this database; any thread may ask.

    They are taken from the table a hundred at a time, so that few of them wait for the disk. Those that a process has
    not used when it ends are never used.
    """

    RESERVED = 100

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._next = self._end = 0

    def take(self) -> int:
        """The next one."""
        with self._lock:
            if self._next == self._end:
                with self._database.write() as tx:
                    taken = tx.execute("UPDATE sequence SET last = last + ? RETURNING last", (self.RESERVED,))
                    (last,) = taken.fetchone()
                self._next, self._end = last - self.RESERVED + 1, last + 1
            self._next += 1
            return self._next - 1


def ensure_namespace(tx: sqlite3.Connection, namespace: str) -> None:
    """Make the row of *namespace*, in the transaction that creates the first thing in it."""
    tx.execute("INSERT OR IGNORE INTO namespaces (name) VALUES (?)", (namespace,))
