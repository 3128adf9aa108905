"""Containers outlive the daemon: it may stop and start again, and they do not notice."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from .. import leaks
from ..peers import DAEMONS


@pytest.mark.clause("ctr.survival")
def test_a_new_daemon_finds_what_runs_and_what_ended(
    folder: Path, image: str, fifos: str, pytestconfig: pytest.Config
) -> None:
    name = str(pytestconfig.getoption("--target"))
    mine = folder / f"survival-{name}"
    mine.mkdir()
    namespace = f"{leaks.TOKEN}-survival"
    with DAEMONS[name](mine) as daemon:
        ctr = daemon.within(namespace)
        ctr("images", "pull", "--plain-http", image)
        for id in ("runs", "ends"):
            ctr("run", "--detach", "--fifo-dir", fifos, image, id, "sleep", "1000")
        pids = {row[0]: int(row[1]) for row in map(str.split, ctr("tasks", "ls").splitlines()[1:])}
    os.kill(pids["ends"], signal.SIGKILL)  # while nobody is there to hear of it
    time.sleep(0.2)
    with DAEMONS[name](mine) as daemon:
        ctr = daemon.within(namespace)
        found = {row[0]: row[1:] for row in map(str.split, ctr("tasks", "ls").splitlines()[1:])}
        assert found == {"runs": [str(pids["runs"]), "RUNNING"], "ends": [str(pids["ends"]), "STOPPED"]}
        assert ctr("tasks", "exec", "--exec-id", "e", "runs", "echo", "still here") == "still here\n"
        assert "exit code 137" in ctr.run("tasks", "rm", "ends").err
        ctr("tasks", "kill", "--signal", "KILL", "runs")
        ctr.wait_stopped("runs")
        ctr.run("tasks", "rm", "runs")
        ctr("containers", "rm", "runs", "ends")
        assert ctr("containers", "ls", "--quiet") == ""
