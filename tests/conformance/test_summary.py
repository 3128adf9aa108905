"""Many runs as one list."""

from __future__ import annotations

from conformance.summary import summary
from vm.compare import Result


def test_each_run_has_a_line_and_each_reason_too() -> None:
    ended = {"a": Result("passed", "", 1), "b": Result("skipped", "no tea", 0), "c": Result("skipped", "no tea", 0)}
    lines = summary({"runtime-runc": ended, "units": {"d": Result("failed", "assert 1 == 2", 1)}}).splitlines()
    assert [line.split() for line in lines[:4]] == [
        ["passed", "deviates", "failed", "error", "skipped"],
        ["runtime-runc", "1", "0", "0", "0", "2"],
        ["units", "0", "0", "1", "0", "0"],
        ["all", "of", "2", "1", "0", "1", "0", "2"],
    ]
    assert lines[5:] == ["failed, units: 1 test: assert 1 == 2", "skipped, runtime-runc: 2 tests: no tea"]
