"""A daemon that is meant to die: started, killed and started again on the same folders."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from ..peers import Ctr

START_SECONDS = 30


class Mortal:
    """Our daemon below *folder*; *environment* is added to its own."""

    def __init__(self, folder: Path, environment: dict[str, str] | None = None) -> None:
        self.root, self.state, self.log = folder / "root", folder / "state", folder / "daemon.log"
        self.ctr = Ctr(folder / "socket")
        beside = str(Path(sys.executable).parent)
        self._program = f"{beside}/minicontainerd"
        self._environment = {**os.environ, "PATH": f"{beside}:{os.environ['PATH']}", **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the daemon; it must run."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_dead(self) -> bool:
        """Whether it was started and has ended."""
        return self._process is not None and self._process.poll() is not None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        folders = ["--root", str(self.root), "--state", str(self.state)]
        command = [self._program, "--address", str(self.ctr.address), *folders, "--log-level", "debug"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment
            )
        give_up = time.monotonic() + START_SECONDS
        while not self.ctr.works():
            if self.is_dead or time.monotonic() > give_up:
                raise RuntimeError(f"the daemon did not come up:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL, and nothing else."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """As a service manager would."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(30)
