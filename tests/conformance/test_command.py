"""The suite as one command, from any folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

COMMAND = str(Path(sys.executable).parent / "minicontainerd-conformance")


def test_it_finds_the_tests_of_a_seam_from_anywhere(tmp_path: Path) -> None:
    words = [COMMAND, "runtime", "--runtime=runc", "--collect-only", "-k", "lifecycle"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    assert "test_lifecycle.py" in done.stdout


def test_an_unknown_seam_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    done = subprocess.run([COMMAND, "walls"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "runtime" in done.stderr
