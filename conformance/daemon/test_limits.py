"""Limits that a client asks for take effect, and ``tasks metrics`` shows version 2's figures of them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from ..patience import wait_until
from ..peers import Ctr
from .test_life import events, topic

pytestmark = pytest.mark.needs("root", "cgroup-v2")

MIB = 1 << 20


@pytest.fixture
def limited(ctr: Ctr, image: str, fifos: str) -> Iterator[str]:
    """A container that counts for ever, with a tenth of a processor and 64 MiB."""
    flags = ["--cpu-quota", "10000", "--cpu-period", "100000", "--memory-limit", str(64 * MIB)]
    ctr("run", "--detach", "--fifo-dir", fifos, *flags, image, "limited", "sh", "-c", "while :; do :; done")
    yield "limited"
    ctr.run("tasks", "rm", "--force", "limited")
    ctr.run("containers", "rm", "limited")


def figures(ctr: Ctr, id: str) -> dict[str, int]:
    """What ``tasks metrics`` says, name to number."""
    rows = [line.split() for line in ctr("tasks", "metrics", id).splitlines()]
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


@pytest.mark.clause("ctr.metrics.v2")
def test_metrics_show_the_figures_of_version_2(ctr: Ctr, limited: str) -> None:
    wait_until(lambda: figures(ctr, limited).get("cpu.nr_throttled"), "it is throttled", seconds=30)
    found = figures(ctr, limited)
    assert found["memory.usage_limit"] == 64 * MIB
    assert 0 < found["memory.usage_in_bytes" if "memory.usage_in_bytes" in found else "memory.usage"] < 64 * MIB
    assert found["pids.current"] == 1
    assert found["cpu.usage_usec"] >= found["cpu.user_usec"] > 0
    assert found["cpu.nr_periods"] >= found["cpu.nr_throttled"] > 0


@pytest.mark.clause("ctr.metrics.v2")
def test_metrics_as_json_have_the_same_names(ctr: Ctr, limited: str) -> None:
    told = json.loads(ctr("tasks", "metrics", "--format", "json", limited))
    assert told["memory"]["usage_limit"] == 64 * MIB and told["pids"]["current"] == 1
    assert told["cpu"]["usage_usec"] > 0


@pytest.mark.clause("ctr.oom-event")
def test_a_container_that_takes_too_much_is_killed_and_told_of(ctr: Ctr, image: str) -> None:
    eater = ["sh", "-c", "head -c 64m /dev/zero | tail > /dev/null; echo ended with $?"]
    with events(ctr) as lines:
        ended = ctr.run("run", "--rm", "--memory-limit", str(16 * MIB), image, "eater", *eater)
        assert "ended with 137" in ended.out
    assert "/tasks/oom" in {topic(line) for line in lines}


@pytest.mark.clause("ctr.pause")
def test_a_paused_task_stands_still(ctr: Ctr, limited: str) -> None:
    ctr("tasks", "pause", limited)
    before = figures(ctr, limited)["cpu.usage_usec"]
    time.sleep(0.3)
    assert figures(ctr, limited)["cpu.usage_usec"] == before
    ctr("tasks", "resume", limited)
    wait_until(lambda: figures(ctr, limited)["cpu.usage_usec"] > before, "it goes on")
