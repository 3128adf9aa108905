"""The shim as a program: started as a daemon starts it, asked over its socket, in both generations of the protocol."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from google.protobuf.empty_pb2 import Empty

from conformance.patience import wait_until
from minicontainerd.api.any import PROCESS, pack, pack_json
from minicontainerd.api.cgroups.v2.metrics_pb2 import Metrics
from minicontainerd.api.runtime.bootstrap.v1.bootstrap_pb2 import BootstrapParams
from minicontainerd.api.runtime.task.v3 import shim_pb2 as api
from minicontainerd.api.types.runc.options.oci_pb2 import Options
from minicontainerd.errors import ContainerdError, NotFound, Unimplemented, Unknown
from tests.run.shim.daemon import NAMESPACE, Daemon

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="containers need root")


def test_a_whole_life_with_its_events_in_order(daemon: Daemon, tmp_path: Path) -> None:
    daemon.config["process"]["args"] = ["sh", "-c", "echo out; echo err >&2; exit 7"]
    daemon.start()
    pid = daemon.create(stdout=f"file://{tmp_path}/out", stderr=f"file://{tmp_path}/err")
    daemon.begin()
    assert daemon.wait() == 7
    deleted = daemon.delete()
    assert (deleted.pid, deleted.exit_status) == (pid, 7)
    assert (tmp_path / "out").read_text() == "out\n"
    assert (tmp_path / "err").read_text() == "err\n"
    assert daemon.hear() == [f"/tasks/{word}" for word in ("create", "start", "exit", "delete")]
    daemon.shut_down()


def test_another_runtime_is_driven_by_its_command_line(daemon: Daemon, tmp_path: Path) -> None:
    daemon.config["process"]["args"] = ["echo", "by runc"]
    daemon.start()
    daemon.create(stdout=f"file://{tmp_path}/out", options=pack(Options(binary_name="runc")))
    daemon.begin()
    assert daemon.wait() == 0
    daemon.delete()
    assert (tmp_path / "out").read_text() == "by runc\n"
    daemon.shut_down()


def test_exec_ends_before_the_first_process_does(daemon: Daemon, tmp_path: Path) -> None:
    daemon.config["process"]["args"] = ["sleep", "1000"]
    daemon.start()
    daemon.create()
    daemon.begin()
    process = {"args": ["sleep", "1000"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
    spec = pack_json(PROCESS, process)
    daemon.ask("Exec", api.ExecProcessRequest(id=daemon.id, exec_id="e", spec=spec), Empty)
    daemon.begin("e")
    pids = daemon.ask("Pids", api.PidsRequest(id=daemon.id), api.PidsResponse).processes
    assert len(pids) == 2
    daemon.kill(9)
    assert daemon.wait() == 137
    assert daemon.wait("e") == 137
    topics = daemon.hear()
    assert topics == [f"/tasks/{word}" for word in ("create", "start", "exec-added", "exec-started", "exit", "exit")]
    daemon.delete("e")
    daemon.delete()
    daemon.shut_down()


def test_a_fifo_has_its_end_before_delete(daemon: Daemon, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    daemon.config["process"]["args"] = ["echo", "through"]
    daemon.start()
    daemon.create(stdout=str(tmp_path / "fifo"))
    os.set_blocking(reader, True)
    daemon.begin()
    with os.fdopen(reader) as file:
        assert file.read() == "through\n"
    daemon.wait()
    daemon.delete()
    daemon.shut_down()


def test_pause_metrics_and_refusals(daemon: Daemon) -> None:
    daemon.config["process"]["args"] = ["sleep", "1000"]
    daemon.start()
    with pytest.raises(NotFound, match="container not created"):
        daemon.begin()
    pid = daemon.create()
    daemon.begin()
    with pytest.raises(Unknown, match="cannot start a running process"):
        daemon.begin()
    with pytest.raises(Unknown, match="cannot delete a running process"):
        daemon.delete()
    with pytest.raises(Unimplemented, match="CRIU"):
        daemon.ask("Checkpoint", api.CheckpointTaskRequest(id=daemon.id), Empty)
    daemon.ask("Pause", api.PauseRequest(id=daemon.id), Empty)
    daemon.ask("Resume", api.ResumeRequest(id=daemon.id), Empty)
    stats = daemon.ask("Stats", api.StatsRequest(id=daemon.id), api.StatsResponse).stats
    assert stats.type_url == "io.containerd.cgroups.v2.Metrics"
    assert Metrics.FromString(stats.value).pids.current == 1
    wait_until(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n", "the program is executed")
    daemon.kill(15)  # which the first process of a pid namespace need not hear; until execve ours does
    daemon.kill(9)
    assert daemon.wait() == 137
    with pytest.raises(NotFound, match="process already finished"):
        daemon.kill(9)
    daemon.delete()
    daemon.shut_down()


def test_a_create_that_fails_leaves_nothing_and_says_why(daemon: Daemon) -> None:
    daemon.config["process"]["args"] = ["nope"]
    daemon.start()
    with pytest.raises(ContainerdError, match=r'OCI runtime create failed: .*exec: "nope": executable file not found'):
        daemon.create()
    daemon.shut_down()


def test_a_second_generation_daemon_is_answered_in_json(daemon: Daemon) -> None:
    params = BootstrapParams(instance_id=daemon.id, namespace=NAMESPACE).SerializeToString()
    answer = json.loads(daemon.start(params=params))
    assert (answer["version"], answer["protocol"]) == (3, "ttrpc")
    assert (daemon.bundle / "address").read_text() == answer["address"]
    daemon.shut_down()
    assert not os.path.exists(answer["address"].removeprefix("unix://"))
