"""The host's interpreter cannot be opened for writing by way of a process that is in a container."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.runtime.harness import base_config, make_rootfs
from minicontainerd.api.runtime.task.v3 import shim_pb2 as api
from tests.run.shim.daemon import NAMESPACE, Daemon

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="containers need root")

MINIRUNC = str(Path(sys.executable).parent / "minirunc")


def is_read_only(pid: int) -> bool:
    """Whether the program of *pid* is on a read-only mount. To open it would tell ETXTBSY, which passes."""
    return bool(os.statvfs(f"/proc/{pid}/exe").f_flag & os.ST_RDONLY)


def test_neither_the_shim_nor_its_waiting_init_can_be_overwritten(daemon: Daemon) -> None:
    daemon.start()
    pid = daemon.create()
    shim = daemon.ask("Connect", api.ConnectRequest(id=daemon.id), api.ConnectResponse).shim_pid
    assert Path(f"/proc/{shim}/comm").read_text() == "containerd-shim\n"
    assert is_read_only(pid)
    assert is_read_only(shim)
    daemon.kill(9)
    daemon.wait()
    daemon.delete()
    daemon.shut_down()


def test_the_waiting_init_of_minirunc_cannot_be_overwritten(tmp_path: Path) -> None:
    make_rootfs(tmp_path / "rootfs")
    config = base_config(f"{NAMESPACE}-sheltered")
    config["linux"]["cgroupsPath"] = f"/{NAMESPACE}-sheltered"
    (tmp_path / "config.json").write_text(json.dumps(config))
    command = [MINIRUNC, "--root", str(tmp_path / "root")]
    with open(tmp_path / "out", "w") as out:
        create = [*command, "create", "--pid-file", str(tmp_path / "pid"), "sheltered"]
        subprocess.run(create, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=20, check=True)
    try:
        assert is_read_only(int((tmp_path / "pid").read_text()))
    finally:
        subprocess.run([*command, "delete", "--force", "sheltered"], timeout=20, check=True)
