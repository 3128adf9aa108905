"""Every joint below the daemon swaps: the same life through each daemon with each shim and each runtime below it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from .conftest import Start

OURS, THEIRS = "io.containerd.mini.v2", "io.containerd.runc.v2"
MINIRUNC = str(Path(sys.executable).parent / "minirunc")

CRUN = ["--runc-binary", "crun"]
SHIM = shutil.which("containerd-shim-runc-v2") or ""
PURE = pytest.mark.needs("root", "cgroup-v2")  # crun refuses a host that has both versions

JOINTS = [
    pytest.param("containerd", [THEIRS], id="containerd, its shim, runc"),
    pytest.param("containerd", [THEIRS, "--runc-binary", MINIRUNC], id="containerd, its shim, minirunc"),
    pytest.param("containerd", [OURS], id="containerd, our shim, our runtime in it"),
    pytest.param("containerd", [OURS, "--runc-binary", "runc"], id="containerd, our shim, runc"),
    pytest.param("minicontainerd", [SHIM], id="ours, containerd's shim, runc"),
    pytest.param("minicontainerd", [OURS], id="ours, our shim, our runtime in it"),
    pytest.param("minicontainerd", [OURS, "--runc-binary", MINIRUNC], id="ours, our shim, minirunc"),
    pytest.param("minicontainerd", [OURS, "--runc-binary", "runc"], id="ours, our shim, runc"),
    pytest.param("containerd", [THEIRS, *CRUN], id="containerd, its shim, crun", marks=PURE),
    pytest.param("containerd", [OURS, *CRUN], id="containerd, our shim, crun", marks=PURE),
    pytest.param("minicontainerd", [SHIM, *CRUN], id="ours, containerd's shim, crun", marks=PURE),
    pytest.param("minicontainerd", [OURS, *CRUN], id="ours, our shim, crun", marks=PURE),
]


@pytest.mark.clause("ctr.joints")
@pytest.mark.parametrize(("daemon", "runtime"), JOINTS)
def test_one_life(start: Start, image: str, fifos: str, daemon: str, runtime: list[str]) -> None:
    ctr = start(daemon)
    client = ctr.by("minictr")  # ctr 1.6 takes no path for a shim, and no options for any but its own
    client("images", "pull", "--plain-http", image)
    flags = ["--runtime", *runtime]
    ended = client.run("run", "--rm", *flags, image, "short", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (ended.code, ended.out, ended.err) == (7, "out\n", "err\n")
    client("run", "--detach", "--fifo-dir", fifos, *flags, image, "long", "sleep", "1000")
    try:
        added = ctr.run("tasks", "exec", "--exec-id", "added", "long", "sh", "-c", "echo added; exit 3")
        assert (added.code, added.out) == (3, "added\n")
        ctr("tasks", "pause", "long")
        assert "PAUSED" in ctr("tasks", "ls")
        ctr("tasks", "resume", "long")
        ctr("tasks", "kill", "--signal", "KILL", "long")
        ctr.wait_stopped("long")
        assert "exit code 137" in ctr.run("tasks", "rm", "long").err
    finally:
        ctr.run("tasks", "rm", "--force", "long")
        ctr.run("containers", "rm", "long")
