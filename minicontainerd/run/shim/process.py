"""One process of a container, the first or one of ``exec``: what it is doing, how it ended, who waits for that.

::

    created ── start ──▶ running ──▶ stopped ── delete ──▶ (forgotten)
                           │ ▲
                      pause│ │resume          only the container's first process
                           ▼ │
                          paused
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

from ...api.runtime.task.v3.shim_pb2 import StateResponse, WaitResponse
from ...api.types.task import task_pb2
from ...errors import Unknown
from ...linux import signals
from .server import Later
from .streams import Streams, Terminal

if TYPE_CHECKING:
    from ...oci.runtime import Process as Spec

_STATUS = {
    "created": task_pb2.CREATED,
    "running": task_pb2.RUNNING,
    "paused": task_pb2.PAUSED,
    "stopped": task_pb2.STOPPED,
}

_REFUSALS = {
    ("pause", "created"): "cannot pause task in created state",
    ("pause", "paused"): "cannot pause a paused container",
    ("pause", "stopped"): "cannot pause a stopped container",
    ("resume", "created"): "cannot resume task in created state",
    ("resume", "stopped"): "cannot resume a stopped container",
    ("update", "stopped"): "cannot update a stopped container",
    ("exec", "paused"): "cannot exec in a paused state",
    ("exec", "stopped"): "cannot exec in a stopped state",
}
"""What containerd's shim says differently from ``cannot WHAT a STATUS process``."""


def kill_process(pid: int, number: int) -> None:
    """Send a signal to one process that is our child, so its number cannot have been given to another."""
    signals.kill(pid, number)


class Process:
    """See the module. *exec_id* is empty for the first process; *spec* is set for the others."""

    def __init__(self, container_id: str, exec_id: str, places: tuple[str, str, str], terminal: bool) -> None:
        self.container_id = container_id
        self.exec_id = exec_id
        self.stdin, self.stdout, self.stderr = places
        self.wants_terminal = terminal
        self.spec: Spec = {}
        self.status = "created"
        self.pid = 0
        self.exit_status = 0
        self.exited_at = Timestamp()
        self.streams: Streams | None = None
        self.terminal: Terminal | None = None
        self._waiters: list[Later] = []

    @property
    def is_first(self) -> bool:
        return not self.exec_id

    @property
    def name(self) -> str:
        """How exit events call it: the container's id for its first process."""
        return self.exec_id or self.container_id

    def exited(self, status: int) -> None:
        """It ended with *status*."""
        self.status = "stopped"
        self.exit_status = status
        self.exited_at.FromNanoseconds(time.time_ns())

    def tell_waiters(self) -> None:
        """Answer everybody who waits for the end."""
        for waiter in self._waiters:
            waiter.give(self._result())
        self._waiters.clear()

    def wait(self) -> WaitResponse | Later:
        """The result, at once if there is one."""
        if self.status == "stopped":
            return self._result()
        self._waiters.append(Later())
        return self._waiters[-1]

    def resize(self, height: int, width: int) -> None:
        if self.terminal is not None and self.terminal.master >= 0:
            self.terminal.resize(height, width)

    def close_input(self) -> None:
        for end in (self.streams, self.terminal):
            if end is not None:
                end.close_input()

    def close(self) -> None:
        """Let go of every descriptor held for it."""
        for end in (self.streams, self.terminal):
            if end is not None:
                end.close()

    def require(self, *allowed: str, what: str) -> None:
        """Refuse *what* unless the status is one of *allowed*.

        Raises:
            Unknown: it is not. The words and the code are those of containerd's shim, which clients compare.
        """
        if self.status not in allowed:
            raise Unknown(_REFUSALS.get((what, self.status), f"cannot {what} a {self.status} process"))

    def state(self, bundle: str) -> StateResponse:
        return StateResponse(
            id=self.name,
            bundle=bundle,
            pid=self.pid,
            status=_STATUS[self.status],
            stdin=self.stdin,
            stdout=self.stdout,
            stderr=self.stderr,
            terminal=self.wants_terminal,
            exit_status=self.exit_status,
            exited_at=self.exited_at if self.status == "stopped" else None,
            exec_id=self.exec_id,
        )

    def _result(self) -> WaitResponse:
        return WaitResponse(exit_status=self.exit_status, exited_at=self.exited_at)
