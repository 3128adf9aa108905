"""A process's input and output, carried through FIFOs.

The daemon never touches what a container says. The client makes a folder with up to three FIFOs and names them in the
request; the shim opens the other ends. Opening the reading ends without waiting, before the task is created, makes the
order of opening unimportant; the shim keeps its own ends open until the container's are closed, so that the end of the
file means the end of the output, and :meth:`Streams.wait` waits for that before the task may be deleted.

Source: containerd@301026e pkg/cio/{io,io_unix}.go.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from minicontainerd.errors import NotFound

FOLDER = "/run/containerd/fifo"
CHUNK = 1 << 16


class Streams:
    """The FIFOs of one process; *stdin*, *stdout* and *stderr* are their paths, or empty.

    Args:
        name: what the FIFOs' names begin with: the container's or the exec's id.
        terminal: whether output is one stream, as a terminal has it.
    """

    def __init__(self, name: str, *, terminal: bool = False, folder: str = FOLDER) -> None:
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(dir=folder))
        self.stdin = self._make(f"{name}-stdin")
        self.stdout = self._make(f"{name}-stdout")
        self.stderr = "" if terminal else self._make(f"{name}-stderr")
        self._open()

    @classmethod
    def of(cls, stdin: str, stdout: str, stderr: str) -> Streams:
        """The FIFOs that another client made, by their paths.

        Raises:
            NotFound: the process has none.
        """
        if not stdin or not os.path.exists(stdin):
            raise NotFound("the process has no FIFOs to attach to")
        self = cls.__new__(cls)
        self._folder = Path(stdin).parent
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self._open()
        return self

    def _open(self) -> None:
        self._threads: list[threading.Thread] = []
        # a shim that opens an end for writing waits for a reader, so these are open before it is asked to
        self._outputs = {
            path: os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            for path in (self.stdout, self.stderr)
            if path
        }
        # both ways, so that neither opening waits nor writing fails while nobody is there yet
        self._input = os.open(self.stdin, os.O_RDWR | os.O_CLOEXEC)
        self._stop_input, self._stopped = os.pipe2(os.O_CLOEXEC)

    def _make(self, name: str) -> str:
        path = str(self._folder / name)
        os.mkfifo(path, 0o700)
        return path

    def attach(self, source: int | None, output: int, errors: int, at_end: Callable[[], None] | None = None) -> None:
        """Copy from the descriptor *source* to the process, and from it to *output* and *errors*.

        *at_end* is called once *source* has ended; it should have the process's input closed.
        """
        for path, target in ((self.stdout, output), (self.stderr, errors)):
            if path:
                self._start(_copy_out, self._outputs.pop(path), target)
        if source is not None:
            thread = threading.Thread(target=self._copy_in, args=(source, at_end), daemon=True)
            thread.start()

    def wait(self) -> None:
        """Wait until all output has come."""
        for thread in self._threads:
            thread.join()

    def close(self) -> None:
        """Remove the FIFOs. Input that nobody read is lost."""
        for descriptor in (self._stopped, *self._outputs.values()):
            os.close(descriptor)
        self._outputs.clear()
        self._close_input()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Streams:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _close_input(self) -> None:
        descriptor, self._input = self._input, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _start(self, work: Callable[[int, int], None], source: int, target: int) -> None:
        thread = threading.Thread(target=work, args=(source, target), daemon=True)
        thread.start()
        self._threads.append(thread)

    def _copy_in(self, source: int, at_end: Callable[[], None] | None) -> None:
        with contextlib.suppress(OSError):  # the process has ended, or the FIFO is closed
            while True:
                ready, _, _ = select.select([source, self._stop_input], [], [])
                if self._stop_input in ready:
                    return
                data = os.read(source, CHUNK)
                if not data:
                    break
                write_all(self._input, data)
        self._close_input()  # a reader sees the end only when no writer is left, and we are one
        if at_end is not None:
            at_end()


def _copy_out(source: int, target: int) -> None:
    """Copy until the writers have gone. Before the first one comes, a FIFO is silent: poll(2) waits for either."""
    poll = select.poll()
    poll.register(source, select.POLLIN)
    try:
        while True:
            poll.poll()
            with contextlib.suppress(BlockingIOError):
                data = os.read(source, CHUNK)
                if not data:
                    return
                write_all(target, data)
    finally:
        os.close(source)


def write_all(target: int, data: bytes) -> None:
    """Write all of *data*; a reader that has gone is no error of ours."""
    view = memoryview(data)
    with contextlib.suppress(BrokenPipeError):
        while view:
            view = view[os.write(target, view) :]
