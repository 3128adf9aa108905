"""pytest's plugin with real guests: results, output and deaths arrive as if the tests had run here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from vm.recipe import ROOT


def _pytest(*arguments: str, **more: str) -> tuple[int, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")} | more
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-ra", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    return done.returncode, done.stdout + done.stderr


def test_every_outcome_arrives_with_its_output(tmp_path: Path) -> None:
    code, said = _pytest("--in-vm", "vm/examples/outcomes.py", f"--junitxml={tmp_path / 'results.xml'}")
    assert code == 1, said
    assert "1 failed, 5 passed, 1 skipped, 1 xfailed, 1 error" in said
    assert "said before it failed" in said and "seen in the guest" in said and "the fixture is broken" in said
    cases = ElementTree.parse(tmp_path / "results.xml").getroot().findall(".//testcase")
    assert len(cases) == 9


def test_there_may_be_more_tests_than_fit_a_command() -> None:
    code, said = _pytest("--in-vm", "vm/examples/many.py")
    assert (code, "200 passed" in said) == (0, True), said


def test_two_guests_share_the_files() -> None:
    code, said = _pytest(
        "--in-vm", "-n", "2", "vm/examples/outcomes.py", "vm/examples/needy.py", "-k", "passes or alone"
    )
    assert (code, "2 passed" in said) == (0, True), said


def test_coverage_arrives_as_if_it_had_run_here(tmp_path: Path) -> None:
    file = tmp_path / "coverage"
    code, said = _pytest(
        *("--in-vm", "tests/linux/test_seccomp.py", "--cov=minicontainerd.linux", "--cov-report=term"),
        COVERAGE_FILE=str(file),
    )
    assert code == 0, said
    lines = {name: int(share) for name, share in re.findall(r"^(\S+\.py) .* (\d+)%$", said, re.M)}
    assert lines["minicontainerd/linux/seccomp.py"] > 60 > lines["minicontainerd/linux/links.py"]
    assert [path.name for path in tmp_path.iterdir()] == ["coverage"]


def test_what_this_host_lacks_runs_in_a_guest() -> None:
    code, said = _pytest("vm/examples/needy.py", "-k", "anywhere or alone")
    assert (code, "2 passed" in said) == (0, True), said


def test_a_guest_that_dies_fails_the_tests_it_had_and_says_how() -> None:
    code, said = _pytest("vm/examples/needy.py", "-k", "ends")
    assert code == 1
    assert "panicked: sysrq triggered crash" in said and "the same machine by hand" in said
