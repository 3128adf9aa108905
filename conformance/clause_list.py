"""The clauses of ``clauses/*.toml``, for whoever needs them: the collection of tests, and the book's table."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

CLAUSES = Path(__file__).parent / "clauses"


def read_clauses(file: Path) -> dict[str, dict[str, Any]]:
    """The clauses of one *file* by their id: the path of the table, joined by dots."""
    found: dict[str, dict[str, Any]] = {}

    def walk(prefix: str, table: dict[str, Any]) -> None:
        if "summary" in table:
            found[prefix] = table
            return
        for key, value in table.items():
            walk(f"{prefix}.{key}" if prefix else key, value)

    walk("", tomllib.loads(file.read_text()))
    return found


def all_clauses() -> dict[str, dict[str, Any]]:
    """The clauses of every file by their id."""
    return {id: clause for file in sorted(CLAUSES.glob("*.toml")) for id, clause in read_clauses(file).items()}
