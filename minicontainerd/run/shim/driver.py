"""Who makes the container: our own runtime, in this process, or another one by its command line.

Both do the same for the service above. In process, a container costs no start of a program at all; by command line,
any runtime that speaks as runc does can be put in (``Options.binary_name``).

Source: the commands are those of containerd@301026e vendor/github.com/containerd/go-runc.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ...errors import Unknown
from .. import create, join, operate, state
from ..words import CREATE_FAILED, EXEC_FAILED, told_as

if TYPE_CHECKING:
    from ...oci.runtime import Process, Resources

ROOT, OWN_ROOT = "/run/containerd/runc", "/run/containerd/minirunc"
"""Where another runtime, and ours, keeps its containers: one folder a namespace. Never the same for both."""

Three = tuple[int, int, int]


class Wanted(NamedTuple):
    """What the client's Options ask of create."""

    no_pivot: bool = False
    new_keyring: bool = True


class Driver(Protocol):
    """The operations of a runtime. Each raises one of our errors, with the runtime's own words."""

    def create(self, id: str, bundle: str, streams: Three, wanted: Wanted) -> tuple[int, int]:
        """Make a container; the pid of its first process, and its terminal's master or -1."""

    def exec(self, id: str, exec_id: str, bundle: str, process: Process, streams: Three) -> tuple[int, int]: ...
    def start(self, id: str) -> None: ...
    def kill(self, id: str, number: int, all: bool) -> None: ...
    def delete(self, id: str, force: bool = False) -> None: ...
    def pause(self, id: str) -> None: ...
    def resume(self, id: str) -> None: ...
    def update(self, id: str, resources: Resources) -> None: ...
    def pids(self, id: str) -> list[int]: ...


class InProcess:
    """Our runtime, as functions."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.warnings: list[str] = []

    def create(self, id: str, bundle: str, streams: Three, wanted: Wanted) -> tuple[int, int]:
        with open(os.path.join(bundle, "config.json"), encoding="utf-8") as file:
            terminal = bool(json.load(file).get("process", {}).get("terminal"))
        with told_as(CREATE_FAILED), _console(terminal) as (ours, theirs):
            options = create.Options(
                pid_file=os.path.join(bundle, "init.pid"),
                console=theirs,
                no_pivot=wanted.no_pivot,
                new_keyring=wanted.new_keyring,
                streams=streams,
                warn=self.warnings.append,
            )
            made = create.create(self.root, id, bundle, options)
            return made.pid, _receive(ours)

    def exec(self, id: str, exec_id: str, bundle: str, process: Process, streams: Three) -> tuple[int, int]:
        with told_as(EXEC_FAILED), _console(bool(process.get("terminal"))) as (ours, theirs):
            options = create.Options(
                pid_file=os.path.join(bundle, f"{exec_id}.pid"),
                console=theirs,
                streams=streams,
                warn=self.warnings.append,
            )
            pid = join.execute(self._load(id), process, options)
            return pid, _receive(ours)

    def start(self, id: str) -> None:
        operate.start(self._load(id), self.warnings.append)

    def kill(self, id: str, number: int, all: bool) -> None:
        operate.kill(self._load(id), number, all=all)

    def delete(self, id: str, force: bool = False) -> None:
        operate.delete(self._load(id), self.warnings.append, force=force)

    def pause(self, id: str) -> None:
        operate.pause(self._load(id))

    def resume(self, id: str) -> None:
        operate.resume(self._load(id))

    def update(self, id: str, resources: Resources) -> None:
        operate.update(self._load(id), resources)

    def pids(self, id: str) -> list[int]:
        return operate.processes(self._load(id))

    def _load(self, id: str) -> state.Container:
        return state.load(self.root, id)


@contextlib.contextmanager
def _console(wanted: bool) -> Iterator[tuple[socket.socket | None, int]]:
    """A pair of sockets for the terminal's master to come through; (None, -1) when there is no terminal."""
    if not wanted:
        yield None, -1
        return
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs.fileno()


def _receive(connection: socket.socket | None) -> int:
    if connection is None:
        return -1
    _, descriptors, _, _ = socket.recv_fds(connection, 4096, 1)
    return descriptors[0]


class CommandLine:
    """Another runtime's program, as containerd's own shim drives runc."""

    def __init__(self, program: str, root: str, bundle: str, systemd_cgroup: bool = False) -> None:
        self.log = os.path.join(bundle, "log.json")
        self._command = [program, "--root", root, "--log", self.log, "--log-format", "json"]
        if systemd_cgroup:
            self._command.append("--systemd-cgroup")

    def create(self, id: str, bundle: str, streams: Three, wanted: Wanted) -> tuple[int, int]:
        pid_file = os.path.join(bundle, "init.pid")
        words = ["create", "--bundle", bundle, "--pid-file", pid_file]
        words += ["--no-pivot"] if wanted.no_pivot else []
        words += [] if wanted.new_keyring else ["--no-new-keyring"]
        with open(os.path.join(bundle, "config.json"), encoding="utf-8") as file:
            terminal = bool(json.load(file).get("process", {}).get("terminal"))
        return self._start(words, id, pid_file, terminal, streams)

    def exec(self, id: str, exec_id: str, bundle: str, process: Process, streams: Three) -> tuple[int, int]:
        pid_file = os.path.join(bundle, f"{exec_id}.pid")
        with tempfile.NamedTemporaryFile("w", prefix="runc-process", suffix=".json") as file:
            json.dump(process, file)
            file.flush()
            words = ["exec", "--process", file.name, "--detach", "--pid-file", pid_file]
            return self._start(words, id, pid_file, bool(process.get("terminal")), streams)

    def start(self, id: str) -> None:
        self._run("start", id)

    def kill(self, id: str, number: int, all: bool) -> None:
        self._run("kill", *(["--all"] if all else []), id, str(number))

    def delete(self, id: str, force: bool = False) -> None:
        self._run("delete", *(["--force"] if force else []), id)

    def pause(self, id: str) -> None:
        self._run("pause", id)

    def resume(self, id: str) -> None:
        self._run("resume", id)

    def update(self, id: str, resources: Resources) -> None:
        self._run("update", "--resources=-", id, text=json.dumps(resources))

    def pids(self, id: str) -> list[int]:
        pids: list[int] = json.loads(self._run("ps", "--format", "json", id) or "null") or []
        return pids

    def _start(self, words: list[str], id: str, pid_file: str, terminal: bool, streams: Three) -> tuple[int, int]:
        with contextlib.ExitStack() as held:
            listener = None
            if terminal:
                folder = held.enter_context(tempfile.TemporaryDirectory(prefix="pty"))
                listener = held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
                listener.bind(f"{folder}/pty.sock")
                listener.listen(1)
                words = [*words, "--console-socket", f"{folder}/pty.sock"]
            self._call([*words, id], streams)
            master = -1
            if listener is not None:
                connection, _ = listener.accept()
                with connection:
                    master = _receive(connection)
        with open(pid_file, encoding="ascii") as file:
            return int(file.read()), master

    def _call(self, words: list[str], streams: Three) -> None:
        result = subprocess.run(
            [*self._command, *words], stdin=streams[0], stdout=streams[1], stderr=streams[2], check=False
        )
        if result.returncode != 0:
            raise Unknown(self._last_error() or f"{words[0]}: exit status {result.returncode}")

    def _run(self, *words: str, text: str = "") -> str:
        result = subprocess.run([*self._command, *words], input=text, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise Unknown(self._last_error() or result.stderr.strip() or f"exit status {result.returncode}")
        return result.stdout

    def _last_error(self) -> str:
        """The reason that the program logged, once: the file is emptied, or it would be found again."""
        found = ""
        try:
            with open(self.log, "r+", encoding="utf-8") as file:
                for line in file:
                    entry: dict[str, Any] = json.loads(line)
                    if entry.get("level") == "error":
                        found = str(entry["msg"]).strip()
                file.truncate(0)
        except (OSError, ValueError):
            return found
        return found


def kill_process(pid: int, number: int) -> None:
    """Send a signal to one process that is our child, so its number cannot have been given to another."""
    os.kill(pid, signal.Signals(number) if number in signal.valid_signals() else number)
