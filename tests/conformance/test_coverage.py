"""How much of the runtime specification is under test: what is not has a reason that says why not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.clause_list import all_clauses, has_to
from conformance.report import coverage


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Every clause that a test of the runtime seam names, as pytest collects them."""
    file = tmp_path_factory.mktemp("collected") / "run.json"
    words = ["-q", "--collect-only", "--vm=never", f"--record={file}", "conformance/runtime"]
    subprocess.run([sys.executable, "-m", "pytest", *words], check=True, stdout=subprocess.DEVNULL)
    return {id for row in json.loads(Path(file).read_text()) for id in row["clauses"]}


def test_most_of_what_a_runtime_has_to_do_is_under_test(named: set[str]) -> None:
    seen = coverage(all_clauses("runtime-spec-*.toml"), named)
    assert seen.checked >= 0.85 * seen.mandatory, seen
    assert seen.literal_checked >= 0.8 * seen.literal, seen  # those that are not described only


def test_the_rest_has_a_reason(named: set[str]) -> None:
    clauses = has_to(all_clauses("runtime-spec-*.toml"))
    assert not {id for id, clause in clauses.items() if id not in named and not clause.get("reason")}


def test_a_reason_goes_when_a_test_comes(named: set[str]) -> None:
    clauses = all_clauses("runtime-spec-*.toml")
    assert not {id for id, clause in clauses.items() if id in named and clause.get("reason")}
