"""Where a process's input and output go.

The client names three places. Each is one of::

    (empty)                 /dev/null
    /path of a FIFO         the client made it and reads (or writes) its other end
    file:///path, /path     appended to; folders on the way are made
    binary:///program?k=v   a logging program (logger.py)

Without a terminal the process gets the FIFO itself: the shim is not in the way of a single byte. It only keeps ends
open. An end for reading of each output, so that a client that leaves does not end the process by SIGPIPE. An end
for writing of the input, so that a client that leaves does not end the input; ``CloseIO`` closes that one. It keeps
no end for writing of an output: clients wait for its end of file before they call ``Delete``.

With a terminal there is one stream both ways, and the shim copies between its master and the FIFOs.

Source: containerd@301026e cmd/containerd-shim-runc-v2/process/io.go; who opens which end: pkg/cio/io_unix.go.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from urllib.parse import unquote, urlsplit

from ...errors import InvalidArgument
from ...linux import terminal
from .logger import SCHEMES, start_logger
from .loop import HANGUP, READ, WRITE, Loop


class Streams:
    """The three places of one process, opened. *for_child* are the descriptors that become its 0, 1 and 2."""

    def __init__(self, stdin: str, stdout: str, stderr: str, id: str, namespace: str) -> None:
        self._only_for_child = ExitStack()
        self._held = ExitStack()
        self._input_held = -1
        try:
            reading = self._open_input(stdin)
            writing = self._open_output(stdout, stderr, id, namespace)
        except BaseException:
            self.close()
            raise
        self.for_child = (reading, *writing)

    def started(self) -> None:
        """The process has its copies: give up ours, or nobody would ever see an end of file."""
        self._only_for_child.close()

    def close_input(self) -> None:
        """The client has written all it will; when it closes its end too, the process reads an end of file."""
        if self._input_held >= 0:
            os.close(self._input_held)
            self._input_held = -1

    def close(self) -> None:
        self.started()
        self.close_input()
        self._held.close()

    def _open_input(self, place: str) -> int:
        if not place:
            return self._keep(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), self._only_for_child)
        # Opened without waiting, for the client may come later; then made to wait, as a program expects.
        reading = self._keep(os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), self._only_for_child)
        if is_fifo(place):
            self._input_held = os.open(place, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(reading, True)
        return reading

    def _open_output(self, stdout: str, stderr: str, id: str, namespace: str) -> tuple[int, int]:
        if urlsplit(stdout).scheme in SCHEMES:
            out, error = start_logger(stdout, id, namespace)
            return self._keep(out, self._only_for_child), self._keep(error, self._only_for_child)
        return self._open_one(stdout), self._open_one(stderr)

    def _open_one(self, place: str) -> int:
        if not place:
            return self._keep(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), self._only_for_child)
        scheme, _, path, _, _ = urlsplit(place)
        if scheme not in ("", "file", "fifo"):
            raise InvalidArgument(f"unknown STDIO scheme {scheme}")
        path = unquote(path) if scheme else place
        if is_fifo(path):
            self._keep(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), self._held)
            return self._keep(os.open(path, os.O_WRONLY | os.O_CLOEXEC), self._only_for_child)
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return self._keep(os.open(path, flags, 0o644), self._only_for_child)

    @staticmethod
    def _keep(descriptor: int, where: ExitStack) -> int:
        where.callback(os.close, descriptor)
        return descriptor


def is_fifo(path: str) -> bool:
    """Whether *path* is a FIFO that is there."""
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except FileNotFoundError:
        return False


class Terminal:
    """A terminal's master, copied to and from the client's FIFOs."""

    def __init__(self, loop: Loop, master: int, stdin: str, stdout: str) -> None:
        self._loop = loop
        self.master = master
        self._held = ExitStack()
        self._input_held = -1
        self._copies = []
        if stdout:
            self._hold(os.open(stdout, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
            out = os.open(stdout, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            # A copy of its own for each direction: epoll knows a descriptor only once.
            self._copies.append(Copy(loop, os.dup(master), out))
        if stdin:
            keyboard = os.open(stdin, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            self._input_held = os.open(stdin, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            self._copies.append(Copy(loop, keyboard, os.dup(master)))

    def resize(self, height: int, width: int) -> None:
        terminal.resize(self.master, height, width)

    def close_input(self) -> None:
        if self._input_held >= 0:
            os.close(self._input_held)
            self._input_held = -1

    def close(self) -> None:
        for copy in self._copies:
            copy.close()
        self.close_input()
        self._held.close()
        if self.master >= 0:
            os.close(self.master)
            self.master = -1

    def _hold(self, descriptor: int) -> None:
        self._held.callback(os.close, descriptor)


class Copy:
    """Copy from one descriptor to another until the first ends; both are then closed.

    At most one chunk is in hand: while the target takes nothing, the source is not read, and whoever writes waits.
    """

    def __init__(self, loop: Loop, source: int, target: int) -> None:
        self._loop = loop
        self._source = source
        self._target = target
        self._chunk = b""
        os.set_blocking(source, False)
        os.set_blocking(target, False)
        loop.watch(source, READ, self._readable)

    def close(self) -> None:
        if self._source >= 0:
            for descriptor in (self._source, self._target):
                self._loop.forget(descriptor)
                os.close(descriptor)
            self._source = self._target = -1

    def _readable(self, events: int) -> None:
        try:
            self._chunk = os.read(self._source, 1 << 16)
        except BlockingIOError:
            return
        except OSError:
            self._chunk = b""  # EIO: the terminal's last slave is closed
        if not self._chunk:
            self.close()
            return
        self._write()

    def _writable(self, events: int) -> None:
        self._loop.forget(self._target)
        if events & HANGUP and not events & WRITE:
            self.close()
            return
        self._loop.watch(self._source, READ, self._readable)
        self._write()

    def _write(self) -> None:
        try:
            while self._chunk:
                self._chunk = self._chunk[os.write(self._target, self._chunk) :]
        except BlockingIOError:
            self._loop.forget(self._source)
            self._loop.watch(self._target, WRITE, self._writable)
        except OSError:
            self.close()
