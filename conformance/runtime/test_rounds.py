"""One container after another: nothing is left behind, and the last takes as long as the first.

Thirty rounds in the quick run; a thousand by hand, ``--rounds=1000 -s``, which prints the times of the first and the
last tenth. The times are for whoever reads them: a busy machine must not fail a test.
"""

from __future__ import annotations

import os
import statistics
import time

import pytest

from .harness import Container


def open_descriptors() -> int:
    """How many this process has. Processes, mounts and cgroups are the fixture's to find."""
    return len(os.listdir("/proc/self/fd"))


def one_round(container: Container) -> float:
    """Create, start, kill, delete; the seconds that the four took."""
    began = time.perf_counter()
    container.create().start()
    container.kill("KILL")
    container.wait("stopped")
    container.delete()
    return time.perf_counter() - began


@pytest.mark.clause("cli.rounds", "runtime.lifecycle.destroyed", "runtime.delete.removes")
def test_many_rounds_leave_nothing_behind(container: Container, pytestconfig: pytest.Config) -> None:
    rounds = int(pytestconfig.getoption("--rounds"))
    container.args("sleep", "1000")
    one_round(container)  # what is made once, is made
    before = open_descriptors()
    took = [one_round(container) for _ in range(rounds)]
    assert os.listdir(container.runtime.root) == []
    assert open_descriptors() == before
    tenth = max(1, rounds // 10)
    first, last = (1000 * statistics.median(part) for part in (took[:tenth], took[-tenth:]))
    print(f"{rounds} rounds: median of the first {tenth} {first:.0f} ms, of the last {tenth} {last:.0f} ms")
