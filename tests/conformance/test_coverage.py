"""How much of the runtime specification is under test: what is not has a reason that says why not."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from conformance.clause_list import CLAUSES, all_clauses, has_to
from conformance.report import coverage


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The tests of the runtime seam, as pytest collects them."""
    file = tmp_path_factory.mktemp("collected") / "run.json"
    words = ["-q", "--collect-only", "--vm=never", f"--record={file}", "conformance/runtime"]
    subprocess.run([sys.executable, "-m", "pytest", *words], check=True, stdout=subprocess.DEVNULL)
    rows: list[dict[str, Any]] = json.loads(file.read_text())
    return rows


@pytest.fixture(scope="module")
def named(collected: list[dict[str, Any]]) -> set[str]:
    """Every clause that one of them names."""
    return {id for row in collected for id in row["clauses"]}


def test_most_of_what_a_runtime_has_to_do_is_under_test(named: set[str]) -> None:
    seen = coverage(all_clauses("runtime-spec-*.toml"), named)
    assert seen.checked >= 0.85 * seen.mandatory, seen
    assert seen.literal_checked >= 0.85 * seen.literal, seen


def test_the_rest_has_a_reason(named: set[str]) -> None:
    clauses = has_to(all_clauses("runtime-spec-*.toml"))
    assert not {id for id, clause in clauses.items() if id not in named and not clause.get("reason")}


def test_a_reason_goes_when_a_test_comes(named: set[str]) -> None:
    clauses = all_clauses("runtime-spec-*.toml")
    assert not {id for id, clause in clauses.items() if id in named and clause.get("reason")}


@pytest.mark.parametrize("runtime", ["runc", "crun"])
def test_every_deviation_names_a_test_and_a_reason(collected: list[dict[str, Any]], runtime: str) -> None:
    file = Path(CLAUSES.parent, "deviations.toml")
    names = {row["test"].partition("::")[2] for row in collected}
    known = names | {name.partition("[")[0] for name in names}
    deviations = tomllib.loads(file.read_text())[runtime]
    assert not deviations.keys() - known
    assert all(len(reason.split()) > 2 for reason in deviations.values())
