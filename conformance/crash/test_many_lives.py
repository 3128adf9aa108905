"""One daemon, thousands of containers: what it holds afterwards is what it held before."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from .. import leaks
from .daemon import Mortal


class Holdings(NamedTuple):
    """Of a process: resident memory in MB, open descriptors, threads."""

    memory: float
    descriptors: int
    threads: int


def holdings(pid: int) -> Holdings:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    memory = int(status["VmRSS"].split()[0]) / 1000
    return Holdings(memory, len(list(Path(f"/proc/{pid}/fd").iterdir())), int(status["Threads"]))


@pytest.mark.clause("mini.lives")
def test_a_daemon_does_not_grow(daemon: Mortal, image: str, pytestconfig: pytest.Config) -> None:
    lives = int(pytestconfig.getoption("--lives"))
    ctr = daemon.ctr.within(leaks.TOKEN)
    ctr("images", "pull", "--plain-http", image)
    times = []
    seen: list[Holdings] = []
    for number in range(lives):
        started = time.perf_counter()
        ctr("run", "--rm", image, f"life-{number}", "true")
        times.append(time.perf_counter() - started)
        leaks.reap_zombies()
        if number % max(1, lives // 10) == max(1, lives // 10) - 1:
            seen.append(holdings(daemon.pid))
            quarter = statistics.median(times[-max(1, lives // 10) :]) * 1000
            print(f"{number + 1:>6} lives: {seen[-1].memory:.1f} MB, {seen[-1][1:]}, {quarter:.0f} ms each")
    ctr("images", "rm", "--sync", image)
    half = seen[len(seen) // 2 :]  # in the first half its pools and caches fill
    assert max(each.descriptors for each in half) <= seen[len(seen) // 2 - 1].descriptors + 3  # of what is going on
    assert half[-1].threads <= 20
    assert half[-1].memory < half[0].memory * 1.05 + 1
