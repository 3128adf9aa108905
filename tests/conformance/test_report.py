"""Runs put side by side: nothing that differs is lost on the way from a run to the table."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conformance import page, report

TESTS = """
import pytest

@pytest.mark.clause("runtime.kill.sends-signal")
def test_holds(): pass

@pytest.mark.clause("runtime.kill.sends-signal")
@pytest.mark.clause("runtime.kill.no-id-errors")
def test_fails(): assert "this" == "that"

@pytest.mark.clause("config.mounts.option.{option}")
@pytest.mark.parametrize("option", ["ro", "rw"])
def test_with_a_parameter(option): pytest.skip("no disk here")

@pytest.mark.clause("runtime.kill.missing-errors")
@pytest.mark.xfail(reason="it is old", strict=True)
def test_differs(): assert False

@pytest.mark.clause("runtime.kill.missing-errors")
@pytest.mark.xfail(reason="sometimes: it is slow", strict=False)
def test_differs_at_other_times(): pass

@pytest.fixture
def leaky():
    yield
    assert False, "left behind"

@pytest.mark.clause("runtime.start.runs-program")
def test_leaks(leaky): pass
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few tests that end in every way there is, as ``--record`` kept it."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "test_some.py").write_text(TESTS)
    words = ["-q", "-p", "conformance.conftest", "-p", "no:cacheprovider", f"--basetemp={folder}/tmp", "--vm=never"]
    words += [
        "-c",
        "pyproject.toml",
        "--runtime=/some/where/runq",
        f"--record={folder}/run.json",
        str(folder / "test_some.py"),
    ]
    ended = subprocess.run([sys.executable, "-m", "pytest", *words], capture_output=True, text=True, check=False)
    assert ended.returncode == 1, ended.stdout + ended.stderr  # some tests failed, and nothing worse
    return folder / "run.json"


def test_a_run_is_kept_test_by_test(run: Path) -> None:
    found = {row["test"].rpartition("::")[2]: row for row in json.loads(run.read_text())}
    assert {name: row["outcome"] for name, row in found.items()} == {
        "test_holds": "passed",
        "test_fails": "failed",
        "test_with_a_parameter[ro]": "skipped",
        "test_with_a_parameter[rw]": "skipped",
        "test_differs": "deviates",
        "test_differs_at_other_times": "passed",
        "test_leaks": "failed",
    }
    assert found["test_with_a_parameter[rw]"]["clauses"] == ["config.mounts.option.rw"]
    assert found["test_with_a_parameter[rw]"]["reason"] == "no disk here"
    assert found["test_differs"]["reason"] == "it is old"
    assert "left behind" in found["test_leaks"]["reason"]


def test_the_worst_of_its_tests_decides_on_a_clause(run: Path) -> None:
    results = report.read_runs([run])
    (column,) = results.columns
    ids = ("sends-signal", "no-id-errors", "missing-errors", "not-running-errors")
    assert [results.state(f"runtime.kill.{id}", column) for id in ids] == ["fails", "fails", "differs", "-"]
    assert results.state("config.mounts.option.ro", column) == "skipped"


def row(test: str, target: str, outcome: str, reason: str = "") -> dict[str, object]:
    clauses = ["runtime.kill.sends-signal"]
    return {"test": test, "clauses": clauses, "target": target, "host": "h", "outcome": outcome, "reason": reason}


def written(folder: Path, *runs: list[dict[str, object]]) -> list[str]:
    for number, rows in enumerate(runs):
        (folder / f"{number}.json").write_text(json.dumps(rows))
    return [str(folder / f"{number}.json") for number in range(len(runs))]


def test_two_targets_are_two_columns_and_what_differs_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = [row("test_a.py::test_it_goes", "runc", "passed")]
    two = [row("test_a.py::test_it_goes", "crun", "deviates", "<too old>")]
    code = report.main([*written(tmp_path, one, two), f"--html={tmp_path}/page.html"])
    said = capsys.readouterr().out
    (line,) = [line for line in said.splitlines() if line.startswith("runtime.kill.sends-signal")]
    assert line.split()[1:4] == ["MUST", "holds", "differs"]
    assert "a: it goes" in line
    assert "differs  <too old>" in said
    assert code == 0
    html = (tmp_path / "page.html").read_text()
    assert "&lt;too old&gt;" in html and "<too old>" not in html
    assert "http" not in page.STYLE + page.SCRIPT


def test_a_failure_fails_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main(written(tmp_path, [row("test_a.py::test_b", "runc", "failed", "boom")])) == 1
    assert "boom" in capsys.readouterr().out


def test_a_later_run_counts_unless_it_was_skipped(tmp_path: Path) -> None:
    test = "test_a.py::test_b"
    files = written(tmp_path, [row(test, "r", "failed")], [row(test, "r", "passed")], [row(test, "r", "skipped")])
    results = report.read_runs(map(Path, files))
    assert results.found[test] == {("r", "h"): ("holds", "")}


def test_a_tests_name_is_read_as_a_sentence() -> None:
    assert report.short("conformance/runtime/test_life.py::test_kill_sends_it[TERM]") == "life: kill sends it [TERM]"
