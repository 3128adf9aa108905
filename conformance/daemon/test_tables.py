"""What is each daemon's own business still comes in the form that stock ctr expects."""

from __future__ import annotations

import re

import pytest

from ..peers import Ctr


@pytest.mark.clause("ctr.same")
def test_version_tells_both_sides(ctr: Ctr) -> None:
    shown = ctr("version")
    assert re.search(r"Server:\n  Version:  \S+\n  Revision: \S+\n  UUID: [0-9a-f-]{36}", shown), shown


@pytest.mark.clause("ctr.same")
def test_plugins_are_listed_with_their_state(ctr: Ctr) -> None:
    head, *rows = [line.split() for line in ctr("plugins", "ls").splitlines()]
    assert head == ["TYPE", "ID", "PLATFORMS", "STATUS"]
    states = {(row[0], row[1]): row[3] for row in rows}
    for known in (
        ("io.containerd.content.v1", "content"),
        ("io.containerd.snapshotter.v1", "overlayfs"),
        ("io.containerd.snapshotter.v1", "native"),
        ("io.containerd.runtime.v2", "task"),
        ("io.containerd.grpc.v1", "tasks"),
    ):
        assert states[known] == "ok"


@pytest.mark.clause("ctr.same")
def test_metrics_count_the_processes(ctr: Ctr, container: str) -> None:
    shown = dict(line.split()[:2] for line in ctr("tasks", "metrics", container).splitlines() if len(line.split()) == 2)
    assert shown["METRIC"] == "VALUE"
    assert shown["pids.current"] == "1"


@pytest.mark.clause("ctr.gc")
def test_a_lease_keeps_content_until_it_ends(ctr: Ctr) -> None:
    """An ingest of ctr has no lease and no label: the next collection removes it."""
    ctr("content", "ingest", "short-lived", input=b"short-lived")
    ctr("leases", "create", "--id", "sync")
    ctr("leases", "delete", "--sync", "sync")
    assert "short-lived" not in [ctr("content", "get", digest) for digest in _small(ctr)]


def _small(ctr: Ctr) -> list[str]:
    rows = [line.split() for line in ctr("content", "ls").splitlines()[1:]]
    return [row[0] for row in rows if row[1] == "11B"]
