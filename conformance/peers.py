"""Real software that the suite talks to, started privately: everything below one folder, nothing but loopback."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from minicontainerd.oci.mount import Mount

from .patience import patience, wait_until


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], log: Path, ready: Callable[[], bool], seconds: float = 30) -> Iterator[int]:
    """Run *command* until the block ends; the block begins when it is *ready*, and gets its pid.

    The programs beside this Python come first in its PATH, so that any daemon finds our shim.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env={**os.environ, "PATH": path}
        )
    try:
        deadline = time.monotonic() + patience(seconds)
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{shlex.join(command)} is not ready:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(patience(10))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 0.2).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def docker_registry(folder: Path) -> Iterator[str]:
    """Debian's docker-registry; gives its ``host:port``."""
    port = free_port()
    config = folder / "registry.yml"
    config.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}/registry}}}}\n"
        f'http: {{addr: "127.0.0.1:{port}"}}\nlog: {{level: error}}\n'
    )
    with running(["docker-registry", "serve", str(config)], folder / "registry.log", lambda: _answers(port)):
        yield f"127.0.0.1:{port}"


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


class Ctr:
    """``ctr`` against the daemon behind *address*: the real one, or ours; *namespace* is whose names are meant."""

    def __init__(self, address: Path, namespace: str = "default", program: str = "ctr") -> None:
        self.address = address
        self.namespace = namespace
        self.program = program
        self.pid = 0
        """The daemon's process, where we started it."""

    def by(self, program: str) -> Ctr:
        """The same daemon, asked by another client; ours is looked for beside this Python."""
        beside = Path(sys.executable).parent / program
        return Ctr(self.address, self.namespace, str(beside) if beside.exists() else program)

    def within(self, namespace: str) -> Ctr:
        """The same daemon, as another namespace sees it."""
        return Ctr(self.address, namespace, self.program)

    def command(self, *arguments: str) -> list[str]:
        """The whole command line."""
        return [self.program, "--address", str(self.address), "--namespace", self.namespace, *arguments]

    def run(self, *arguments: str, input: bytes = b"", seconds: float = 60) -> Outcome:
        """Run a command, however it ends."""
        done = subprocess.run(self.command(*arguments), capture_output=True, input=input, timeout=patience(seconds))
        return Outcome(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    def __call__(self, *arguments: str, input: bytes | None = None) -> str:
        """Run a command; its standard output. An error carries what it wrote to standard error."""
        done = self.run(*arguments, input=input or b"", seconds=600)
        if done.code:
            raise RuntimeError(f"{shlex.join(self.command(*arguments))}: {done.err}")
        return done.out

    def works(self) -> bool:
        """Does the daemon answer?"""
        try:
            self("version")
        except RuntimeError:
            return False
        return True

    def wait_stopped(self, id: str, seconds: float = 30) -> None:
        """Wait until the task *id* is told to have stopped.

        Raises:
            TimeoutError: it still runs, or is not there.
        """

        def is_told() -> bool:
            return any(line.split()[::2] == [id, "STOPPED"] for line in self("tasks", "ls").splitlines())

        wait_until(is_told, f"the task {id} stops", seconds)

    def mounts(self, snapshotter: str, key: str) -> tuple[Mount, ...]:
        """The mounts of a snapshot, read from the command lines that ctr prints."""
        mounts = []
        for line in self("snapshots", "--snapshotter", snapshotter, "mounts", "/target", key).splitlines():
            words = shlex.split(line)
            options = tuple(words[words.index("-o") + 1].split(","))
            mounts.append(Mount(words[words.index("-t") + 1], words[words.index("-t") + 2], "", options))
        return tuple(mounts)


@contextlib.contextmanager
def containerd(folder: Path) -> Iterator[Ctr]:
    """Debian's containerd."""
    config = folder / "containerd.toml"
    config.write_text(
        f'version = 2\nroot = "{folder}/root"\nstate = "{folder}/state"\n'
        f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\n  address = "{folder}/socket"\n'
    )
    ctr = Ctr(folder / "socket")
    with running(["containerd", "--config", str(config)], folder / "containerd.log", ctr.works) as ctr.pid:
        yield ctr


@contextlib.contextmanager
def minicontainerd(folder: Path) -> Iterator[Ctr]:
    """Ours, from the environment that runs the tests."""
    address = folder / "socket"
    program = str(Path(sys.executable).parent / "minicontainerd")
    flags = [
        "--address",
        str(address),
        "--root",
        f"{folder}/root",
        "--state",
        f"{folder}/state",
        "--log-level",
        "debug",
    ]
    ctr = Ctr(address)
    with running([program, *flags], folder / "minicontainerd.log", ctr.works) as ctr.pid:
        yield ctr


DAEMONS = {"containerd": containerd, "minicontainerd": minicontainerd}
"""By the names that ``--target`` takes."""
