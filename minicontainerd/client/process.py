"""Running a process to its end: the order of calls that loses neither output nor exit code.

::

    make FIFOs ─▶ Create or Exec ─▶ Wait (in a thread) ─▶ Start ─▶ … it ends … ─▶ all output read ─▶ Delete

Wait begins before Start, so that an end that comes at once is seen too. Delete comes last, since the shim forgets the
process then. Source: containerd@301026e client/{task,process}.go.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from types import FrameType

from minicontainerd.api.services.tasks.v1.tasks_pb2 import WaitResponse
from minicontainerd.client.client import Client
from minicontainerd.client.streams import Streams
from minicontainerd.client.terminal import follow_size, raw_terminal
from minicontainerd.errors import ContainerdError

_OURS = {signal.SIGCHLD, signal.SIGWINCH, signal.SIGPIPE, signal.SIGURG, signal.SIGKILL, signal.SIGSTOP}


class Running:
    """A process that was created, on its way to its end."""

    def __init__(self, client: Client, id: str, exec_id: str = "") -> None:
        self._client = client
        self.id = id
        self.exec_id = exec_id
        self._pool = ThreadPoolExecutor(1)
        self._ended: Future[WaitResponse] = self._pool.submit(client.tasks.wait, id, exec_id)

    def start(self) -> int:
        """Let it run; answers its pid."""
        return self._client.tasks.start(self.id, self.exec_id)

    def wait(self) -> int:
        """Wait for its end; answers its exit code."""
        return self._ended.result().exit_status

    def close_stdin(self) -> None:
        """Let it read the end of its input; a process that has ended is no error."""
        with contextlib.suppress(ContainerdError):
            self._client.tasks.close_stdin(self.id, self.exec_id)

    def forward_signals(self) -> None:
        """Send on to it what this program is sent, as if it were the process itself."""

        def send(number: int, frame: FrameType | None) -> None:
            try:
                self._client.tasks.kill(self.id, number, self.exec_id)
            except ContainerdError as error:
                print(f"forward signal {signal.Signals(number).name}: {error}", file=sys.stderr)

        for number in signal.valid_signals() - _OURS:
            if isinstance(number, signal.Signals):
                signal.signal(number, send)

    def converse(self, streams: Streams, *, terminal: bool, start: bool = True) -> int:
        """Start it, carry its input and output until both end, and answer its exit code."""
        with raw_terminal() if terminal else contextlib.nullcontext():
            streams.attach(sys.stdin.fileno(), sys.stdout.fileno(), sys.stderr.fileno(), self.close_stdin)
            if start:
                self.start()
            if terminal:
                follow_size(lambda width, height: self._client.tasks.resize(self.id, width, height, self.exec_id))
            else:
                self.forward_signals()
            status = self.wait()
            streams.wait()
        return status
