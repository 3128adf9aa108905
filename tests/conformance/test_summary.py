"""Many runs as one list."""

from __future__ import annotations

from pathlib import Path

from conformance.summary import Result, read, summary


def test_each_run_has_a_line_and_each_reason_too() -> None:
    ended = [Result("passed", ""), Result("skipped", "no tea"), Result("skipped", "no tea")]
    lines = summary({"runtime-runc": ended, "units": [Result("failed", "assert 1 == 2")]}).splitlines()
    assert [line.split() for line in lines[:4]] == [
        ["passed", "deviates", "failed", "error", "skipped"],
        ["runtime-runc", "1", "0", "0", "0", "2"],
        ["units", "0", "0", "1", "0", "0"],
        ["all", "of", "2", "1", "0", "1", "0", "2"],
    ]
    assert lines[5:] == ["failed, units: 1 test: assert 1 == 2", "skipped, runtime-runc: 2 tests: no tea"]


def test_the_outcomes_of_pytest_are_told_apart(tmp_path: Path) -> None:
    cases = (
        "<testcase/>",
        '<testcase><skipped type="pytest.skip" message="no tea"/></testcase>',
        '<testcase><skipped type="pytest.xfail" message="runc\n  leaves it"/></testcase>',
        '<testcase><failure message="assert 1 == 2"/></testcase>',
        '<testcase><error message="broken"/></testcase>',
    )
    (tmp_path / "run.xml").write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    assert [result.outcome for result in read(tmp_path / "run.xml")] == [
        "passed",
        "skipped",
        "deviates",
        "failed",
        "error",
    ]
