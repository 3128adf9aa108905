"""A daemon for the tests of the shim: it starts one, asks it, and hears its events."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from conformance.runtime.harness import base_config, make_rootfs
from minicontainerd.api.runtime.task.v3 import shim_pb2 as api
from minicontainerd.api.services.ttrpc.events.v1.events_pb2 import ForwardRequest
from minicontainerd.api.ttrpc.frame import Decoder, decode_request, decode_response, encode_request, encode_response

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
