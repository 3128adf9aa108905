"""The list of clauses is whole, and the tests of the runtime seam cover what a runtime for Linux has to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.clause_list import CLAUSES, all_clauses, has_to, read_clauses

LEVELS = {"MUST", "MUST NOT", "REQUIRED", "SHOULD", "SHOULD NOT", "MAY", "MAY NOT", "CONTRACT"}
PARTIES = {"runtime", "author", "caller", "agent", "elsewhere", "specification"}


@pytest.mark.parametrize("file", sorted(CLAUSES.glob("*.toml")), ids=lambda file: file.stem)
def test_every_clause_says_how_binding_it_is_and_where_it_stands(file: Path) -> None:
    clauses = read_clauses(file)
    assert clauses
    for id, clause in clauses.items():
        assert clause["level"] in LEVELS, id
        assert clause["place"] and clause["summary"].endswith("."), id
        assert clause.get("binds", "runtime") in PARTIES, id


def test_no_id_is_in_two_files() -> None:
    ids = [id for file in CLAUSES.glob("*.toml") for id in read_clauses(file)]
    assert len(ids) == len(set(ids))


def test_what_is_a_must_through_another_sentence_names_a_must() -> None:
    clauses = all_clauses()
    named = {clause["through"] for clause in clauses.values() if clause.get("through")}
    assert named <= has_to(clauses).keys()
