"""The shim as a program: started as a daemon starts it, asked over its socket, in both generations of the protocol."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from conformance.runtime.harness import base_config, make_rootfs
from minicontainerd.api.any import PROCESS, pack, pack_json
from minicontainerd.api.cgroups.v2.metrics_pb2 import Metrics
from minicontainerd.api.runtime.bootstrap.v1.bootstrap_pb2 import BootstrapParams
from minicontainerd.api.runtime.task.v3 import shim_pb2 as api
from minicontainerd.api.services.ttrpc.events.v1.events_pb2 import ForwardRequest
from minicontainerd.api.ttrpc.frame import Decoder, decode_request, decode_response, encode_request, encode_response
from minicontainerd.api.types.runc.options.oci_pb2 import Options
from minicontainerd.errors import ContainerdError, NotFound, Unimplemented, Unknown

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="containers need root")

PROGRAM = str(Path(sys.executable).parent / "containerd-shim-mini-v2")
NAMESPACE = f"test{os.getpid()}"
_numbers = itertools.count()


class Daemon:
    """What a shim needs of a daemon: somebody who starts it, asks it, and hears its events."""

    def __init__(self, folder: Path, version: str) -> None:
        self.folder = folder
        self.version = version
        self.id = f"{NAMESPACE}-{next(_numbers)}"
        self.bundle = folder / self.id
        make_rootfs(self.bundle / "rootfs")
        self.config = base_config(self.id)
        self.config["linux"]["cgroupsPath"] = f"/{NAMESPACE}/{self.id}"
        self.events = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.events.bind(str(folder / "events.sock"))
        self.events.listen()
        self._hearing: socket.socket | None = None
        self._decoder = Decoder()
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._streams = itertools.count(1, 2)

    def start(self, *, params: bytes = b"", **environment: str) -> str:
        """Start the shim; what it printed."""
        (self.bundle / "config.json").write_text(json.dumps(self.config))
        command = [PROGRAM, "-namespace", NAMESPACE, "-address", str(self.folder / "c.sock"), "-id", self.id, "start"]
        said = subprocess.run(
            command,
            input=params,
            cwd=self.bundle,
            env={**os.environ, "TTRPC_ADDRESS": str(self.folder / "events.sock"), **environment},
            stdout=subprocess.PIPE,
            timeout=20,
            check=True,
        ).stdout.decode()
        address = json.loads(said)["address"] if said.startswith("{") else said
        self._connection.settimeout(20)
        self._connection.connect(address.removeprefix("unix://"))
        return said

    def ask(self, method: str, request: Message, kind: type[Any]) -> Any:
        """One call, and its answer."""
        stream = next(self._streams)
        service = f"containerd.task.{self.version}.Task"
        self._connection.sendall(encode_request(stream, service, method, request, {}))
        decoder = Decoder()
        while data := self._connection.recv(1 << 16):
            for frame in decoder.feed(data):
                assert frame.stream == stream
                return kind.FromString(decode_response(frame))
        raise AssertionError("the shim has gone")

    def create(self, **more: Any) -> int:
        request = api.CreateTaskRequest(id=self.id, bundle=str(self.bundle), **more)
        return int(self.ask("Create", request, api.CreateTaskResponse).pid)

    def begin(self, exec_id: str = "") -> None:
        self.ask("Start", api.StartRequest(id=self.id, exec_id=exec_id), api.StartResponse)

    def wait(self, exec_id: str = "") -> int:
        return int(self.ask("Wait", api.WaitRequest(id=self.id, exec_id=exec_id), api.WaitResponse).exit_status)

    def kill(self, number: int) -> None:
        self.ask("Kill", api.KillRequest(id=self.id, signal=number), Empty)

    def delete(self, exec_id: str = "") -> api.DeleteResponse:
        answer: api.DeleteResponse = self.ask(
            "Delete", api.DeleteRequest(id=self.id, exec_id=exec_id), api.DeleteResponse
        )
        return answer

    def shut_down(self) -> None:
        shim = self.ask("Connect", api.ConnectRequest(id=self.id), api.ConnectResponse).shim_pid
        self.ask("Shutdown", api.ShutdownRequest(id=self.id), Empty)
        give_up = time.monotonic() + 5
        # The shim's parent, ``start``, is gone; where nobody reaps orphans it stays behind as a zombie.
        while Path(f"/proc/{shim}/cmdline").exists() and Path(f"/proc/{shim}/cmdline").read_bytes():
            assert time.monotonic() < give_up, "the shim did not end"
            self.hear(0.05)

    def hear(self, seconds: float = 0.5) -> list[str]:
        """The topics of the events that come until there has been none for *seconds*."""
        topics = []
        try:
            if self._hearing is None:
                self.events.settimeout(seconds)
                self._hearing, _ = self.events.accept()
            self._hearing.settimeout(seconds)
            while data := self._hearing.recv(1 << 16):
                for frame in self._decoder.feed(data):
                    topics.append(ForwardRequest.FromString(decode_request(frame).payload).envelope.topic)
                    self._hearing.sendall(encode_response(frame.stream, Empty()))
        except (TimeoutError, ConnectionError):
            pass
        return topics

    def close(self) -> None:
        command = [PROGRAM, "-namespace", NAMESPACE, "-id", self.id, "-bundle", str(self.bundle), "delete"]
        subprocess.run(command, cwd=self.bundle, stdout=subprocess.PIPE, timeout=20, check=True)
        for end in (self._connection, self.events, self._hearing):
            if end is not None:
                end.close()
        for tree in ("", *os.listdir("/sys/fs/cgroup")):
            folder = Path("/sys/fs/cgroup", tree, NAMESPACE)
            if folder.is_dir():
                folder.rmdir()
        for root in ("runc", "minirunc"):
            shutil.rmtree(f"/run/containerd/{root}/{NAMESPACE}", ignore_errors=True)


@pytest.fixture(params=["v2", "v3"])
def daemon(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path, request.param)
    yield daemon
    daemon.close()


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
    daemon.create()
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
    daemon.kill(15)
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
