"""Drive a runtime by its command line and nothing else.

A :class:`Runtime` runs commands; a :class:`Container` is one bundle and one id, with the commands as methods. The
container's output goes to a file, for a pipe would stay open as long as the container lives.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from ..leaks import TOKEN, reap_zombies
from ..patience import patience, wait_until

APPLETS = (
    "sh cat echo ls id sleep true false mount ps env pwd hostname stat kill touch mkdir ulimit readlink test grep "
    "tty head tail"
)
_numbers = itertools.count()


class Failure(Exception):
    """A command that returned another status than 0, with the reason it logged."""

    def __init__(self, command: str, status: int, message: str) -> None:
        super().__init__(f"{command}: {status}: {message}")
        self.status = status
        self.message = message


class Runtime:
    """A runtime's program and the folder where it keeps its containers.

    Before every command come *flags*, and before the program *within*, a program like nsenter(1) that starts it.
    """

    def __init__(self, program: str, folder: Path) -> None:
        self.program = program
        self.folder = folder
        self.root = folder / "root"
        self.within: tuple[str, ...] = ()
        self.flags: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return Path(self.program).name

    def __call__(self, *arguments: str, seconds: float = 30, text: str = "") -> str:
        """Run one command; its standard output.

        Raises:
            Failure: it returned another status than 0.
        """
        log, output = self.folder / "log.json", self.folder / f"output-{next(_numbers)}"
        log.unlink(missing_ok=True)
        command = [*self.words(log), *arguments]
        with output.open("wb+") as file:
            result = subprocess.run(
                command,
                input=text.encode(),
                stdout=file,
                stderr=subprocess.STDOUT,
                timeout=patience(seconds),
                check=False,
            )
        said = output.read_text(errors="replace")
        if result.returncode != 0:
            raise Failure(" ".join(arguments), result.returncode, self.last_error(log) or said)
        return said

    def words(self, log: Path) -> list[str]:
        """How every command begins."""
        root = ("--root", str(self.root), "--log", str(log), "--log-format", "json")
        return [*self.within, self.program, *root, *self.flags]

    def last_error(self, log: Path) -> str:
        """The reason, as containerd's shim finds it: the last line of level ``error``."""
        found = ""
        for line in log.read_text().splitlines() if log.exists() else []:
            entry = json.loads(line)
            if entry.get("level") == "error":
                found = entry["msg"]
        return found


class Container:
    """One container of the runtime under test; nothing is done until a method is called."""

    def __init__(self, runtime: Runtime, bundle: Path) -> None:
        self.runtime = runtime
        self.bundle = bundle
        self.id = f"{TOKEN}-{next(_numbers)}"
        self.config: dict[str, Any] = base_config(self.id)
        self.output = bundle / "output"
        self.pid_file = bundle / "pid"

    @property
    def process(self) -> dict[str, Any]:
        process: dict[str, Any] = self.config["process"]
        return process

    @property
    def linux(self) -> dict[str, Any]:
        linux: dict[str, Any] = self.config["linux"]
        return linux

    @property
    def rootfs(self) -> Path:
        return self.bundle / "rootfs"

    def args(self, *words: str) -> Container:
        """Set the program."""
        self.process["args"] = list(words)
        return self

    def shell(self, script: str) -> Container:
        return self.args("sh", "-c", script)

    def write_config(self) -> None:
        """Write the bundle's config.json, as :meth:`create` does."""
        (self.bundle / "config.json").write_text(json.dumps(self.config))

    def create(self, *flags: str) -> Container:
        self.write_config()
        log = self.bundle / "log.json"
        log.unlink(missing_ok=True)
        command = [*self.runtime.words(log), "create", "--bundle", str(self.bundle), "--pid-file", str(self.pid_file)]
        command += [*flags, self.id]
        with self.output.open("wb") as file:
            result = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, timeout=patience(30), check=False
            )
        if result.returncode != 0:
            reason = self.runtime.last_error(log) or self.output.read_text(errors="replace")
            raise Failure("create", result.returncode, reason)
        return self

    def start(self) -> Container:
        self.runtime("start", self.id)
        return self

    def run(self) -> str:
        """Create, start, wait for the end, delete; what the program wrote."""
        self.create().start().wait("stopped")
        self.delete()
        return self.output.read_text(errors="replace")

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self.runtime("state", self.id))
        return state

    @property
    def status(self) -> str:
        reap_zombies()
        return str(self.state()["status"])

    @property
    def pid(self) -> int:
        return int(self.pid_file.read_text())

    def wait(self, status: str, seconds: float = 10) -> Container:
        """Wait until the container has *status*."""
        wait_until(lambda: self.status == status, f"{self.id} is {status}", seconds)
        return self

    def kill(self, signal: str, *flags: str) -> None:
        self.runtime("kill", *flags, self.id, signal)

    def delete(self, *flags: str) -> None:
        self.runtime("delete", *flags, self.id)

    def end(self) -> None:
        """Whatever it is doing, be rid of it. Killed first and reaped, for a zombie would still be in the cgroup."""
        for step in (lambda: self.kill("KILL"), lambda: self.wait("stopped"), lambda: self.delete("--force")):
            try:
                step()
            except Failure:
                continue

    def exec(self, *words: str) -> str:
        return self.runtime("exec", *words[: _flags(words)], self.id, *words[_flags(words) :])

    def exec_of_file(self, *words: str) -> str:
        """``exec --process FILE``; of the process the file has what it must, and no more."""
        file = self.bundle / "process.json"
        file.write_text(json.dumps({"args": words, "user": {"uid": 0, "gid": 0}, "cwd": "/", "env": ["PATH=/bin"]}))
        return self.exec(f"--process={file}")

    def written(self, until: str = "\n", seconds: float = 5) -> str:
        """What the program has written, once *until* is there."""
        give_up = time.monotonic() + patience(seconds)
        while until not in self.output.read_text() and time.monotonic() < give_up:
            time.sleep(0.02)
        return self.output.read_text()


def expect_gone(container: Container) -> None:
    """The runtime knows nothing of *container* any more."""
    with pytest.raises(Failure, match="does not exist|No such file"):
        container.state()


def _flags(words: tuple[str, ...]) -> int:
    """How many of *words* come before the program: flags are written ``--name=value`` here."""
    return next((number for number, word in enumerate(words) if not word.startswith("-")), len(words))


def make_rootfs(folder: Path) -> Path:
    """A root filesystem of one static busybox."""
    busybox = shutil.which("busybox") or "/bin/busybox"
    for name in ("bin", "proc", "sys", "dev", "etc", "tmp", "root"):
        (folder / name).mkdir(parents=True)
    shutil.copy(busybox, folder / "bin/busybox")
    for applet in APPLETS.split():
        (folder / "bin" / applet).symlink_to("busybox")
    (folder / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")
    (folder / "tmp").chmod(0o1777)
    return folder


def base_config(id: str) -> dict[str, Any]:
    """An ordinary container, with what containerd asks for."""
    capabilities = ["CAP_CHOWN", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_NET_BIND_SERVICE"]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["true"],
            "env": ["PATH=/bin"],
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
        },
        "root": {"path": "rootfs"},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {
                "destination": "/dev",
                "type": "tmpfs",
                "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
            },
            {
                "destination": "/dev/pts",
                "type": "devpts",
                "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
            },
        ],
        "linux": {
            "cgroupsPath": f"/{TOKEN}/{id}",
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "network")],
        },
    }


def namespace(pid: int | str, name: str) -> str:
    """The identity of a process's namespace."""
    return os.readlink(f"/proc/{pid}/ns/{name}")
