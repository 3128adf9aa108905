"""A person at a terminal: runs a command of the runtime on a pseudo-terminal of this side, types, reads, resizes."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from types import TracebackType

from ..patience import patience


class Person:
    """*command* on a terminal of *height* and *width*; what it shows is read until something is there."""

    def __init__(self, command: list[str], height: int = 24, width: int = 80) -> None:
        self.master, slave = pty.openpty()
        self.resize(height, width)
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, preexec_fn=_take_terminal
        )
        os.close(slave)
        self.shown = ""

    def __enter__(self) -> Person:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.master)  # hangs up
        if self.process.poll() is None:
            try:
                self.process.wait(patience(10))
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def resize(self, height: int, width: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def sees(self, text: str, seconds: float = 10) -> str:
        """Wait until *text* is shown; what was shown up to and with it, and that is forgotten."""
        give_up = time.monotonic() + patience(seconds)
        while text not in self.shown:
            ready, _, _ = select.select([self.master], [], [], max(0.0, give_up - time.monotonic()))
            assert ready, f"not shown after {seconds} s: {text!r}, but {self.shown!r}"
            try:
                chunk = os.read(self.master, 4096)
            except OSError:
                raise AssertionError(f"the terminal has closed without {text!r}: {self.shown!r}") from None
            self.shown += chunk.decode(errors="replace")
        before, found, self.shown = self.shown.partition(text)
        return before + found

    def leaves(self) -> int:
        """Wait for the command's end; its status."""
        return self.process.wait(patience(20))


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def size_of(terminal: int) -> tuple[int, int]:
    """Height and width."""
    height, width, _, _ = struct.unpack("HHHH", fcntl.ioctl(terminal, termios.TIOCGWINSZ, b"\0" * 8))
    return height, width
