"""A store in a temporary folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from minicontainerd.store.blobs import Blobs
from minicontainerd.store.content import Content
from minicontainerd.store.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "metadata.db")
    yield database
    database.close()


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "content")


@pytest.fixture
def content(database: Database, blobs: Blobs) -> Content:
    return Content(database, blobs)
