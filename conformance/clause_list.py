"""The clauses of ``clauses/*.toml``, for whoever needs them: the collection of tests, the report, the book's table.

A clause is a table that has ``summary``; its id is the way to it, joined by dots. What a table on that way says besides
holds for every clause below it, unless the clause says otherwise::

    place = "runtime-spec 1.3 runtime.md#kill"      in the table [runtime.kill]
    sends-signal = { summary = "..." }              the clause runtime.kill.sends-signal, with that place

``level``    MUST, MUST NOT, REQUIRED, SHOULD, SHOULD NOT, MAY; CONTRACT: nobody wrote it down, everybody relies on it
``binds``    who has to; the party under test, where nothing is said
``through``  the id of the sentence that makes a must of a property which is only described
``reason``   why no test checks it
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

CLAUSES = Path(__file__).parent / "clauses"

MANDATORY = ("MUST", "MUST NOT", "REQUIRED", "SHALL", "SHALL NOT")

Clauses = dict[str, dict[str, Any]]


def read_clauses(file: Path) -> Clauses:
    """The clauses of one *file* by their id."""
    found: Clauses = {}

    def walk(prefix: str, table: dict[str, Any], above: dict[str, Any]) -> None:
        own = {**above, **{key: value for key, value in table.items() if not isinstance(value, dict)}}
        if "summary" in table:
            found[prefix] = own
            return
        for key, value in table.items():
            if isinstance(value, dict):
                walk(f"{prefix}.{key}" if prefix else key, value, own)

    walk("", tomllib.loads(file.read_text()), {})
    return found


def all_clauses(files: str = "*.toml") -> Clauses:
    """The clauses of every file whose name matches, by their id."""
    return {id: clause for file in sorted(CLAUSES.glob(files)) for id, clause in read_clauses(file).items()}


def has_to(clauses: Clauses, who: str = "runtime") -> Clauses:
    """Those of *clauses* that are mandatory and bind *who*."""
    return {
        id: clause
        for id, clause in clauses.items()
        if clause["level"] in MANDATORY and clause.get("binds", "runtime") == who
    }


def named_by(item: pytest.Item) -> list[str]:
    """The ids that a collected test names; ``{name}`` in one stands for that parameter of the test."""
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    return [str(id).format(**parameters) for mark in item.iter_markers("clause") for id in mark.args]
