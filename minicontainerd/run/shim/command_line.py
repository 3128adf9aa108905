"""Another runtime, by its command line: any that speaks as runc does can be put in (``Options.binary_name``).

The program is started once for each operation and says nothing but an exit status; the reason of a failure is the
last error in its log. Source: the commands are those of containerd@301026e vendor/github.com/containerd/go-runc.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import tempfile
from typing import TYPE_CHECKING, Any

from ...errors import Unknown
from .driver import Three, Wanted, receive

if TYPE_CHECKING:
    from ...oci.runtime import Process, Resources


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
        return self._start(words, id, pid_file, wanted.terminal, streams)

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
                    master = receive(connection)
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
