"""Every joint below the daemon swaps: the same life through each daemon with each shim and each runtime below it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from .conftest import Start

OURS, THEIRS = "io.containerd.mini.v2", "io.containerd.runc.v2"
MINIRUNC = str(Path(sys.executable).parent / "minirunc")

JOINTS = [
    pytest.param("containerd", [THEIRS], id="containerd, its shim, runc"),
    pytest.param("containerd", [THEIRS, "--runc-binary", MINIRUNC], id="containerd, its shim, minirunc"),
    pytest.param("containerd", [OURS], id="containerd, our shim, our runtime in it"),
    pytest.param("containerd", [OURS, "--runc-binary", "runc"], id="containerd, our shim, runc"),
    pytest.param("minicontainerd", [shutil.which("containerd-shim-runc-v2") or ""], id="ours, containerd's shim, runc"),
    pytest.param("minicontainerd", [OURS], id="ours, our shim, our runtime in it"),
    pytest.param("minicontainerd", [OURS, "--runc-binary", MINIRUNC], id="ours, our shim, minirunc"),
    pytest.param("minicontainerd", [OURS, "--runc-binary", "runc"], id="ours, our shim, runc"),
]


@pytest.mark.clause("ctr.joints")
@pytest.mark.parametrize(("daemon", "runtime"), JOINTS)
def test_one_life(start: Start, image: str, fifos: str, daemon: str, runtime: list[str]) -> None:
    client = start(daemon).by("minictr")  # ctr 1.6 takes no path for a shim
    client("images", "pull", "--plain-http", image)
    flags = ["--runtime", *runtime]
    ended = client.run("run", "--rm", *flags, image, "short", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (ended.code, ended.out, ended.err) == (7, "out\n", "err\n")
    client("run", "--detach", "--fifo-dir", fifos, *flags, image, "long", "sleep", "1000")
    try:
        added = client.run("tasks", "exec", "--exec-id", "added", "long", "sh", "-c", "echo added; exit 3")
        assert (added.code, added.out) == (3, "added\n")
        client("tasks", "pause", "long")
        assert "PAUSED" in client("tasks", "ls")
        client("tasks", "resume", "long")
        client("tasks", "kill", "--signal", "KILL", "long")
        client.wait_stopped("long")
        assert "exit code 137" in client.run("tasks", "rm", "long").err
    finally:
        client.run("tasks", "rm", "--force", "long")
        client.run("containers", "rm", "long")
