"""Who makes the container: our own runtime, in this process, or another one by its command line (command_line.py).

Both do the same for the service above. In process, a container costs no start of a program at all.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ...errors import NotFound
from .. import create, join, operate, state
from ..words import CREATE_FAILED, EXEC_FAILED, told_as

if TYPE_CHECKING:
    from ...oci.runtime import Process, Resources

Three = tuple[int, int, int]


class Wanted(NamedTuple):
    """What the client asks of create."""

    terminal: bool = False
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

    def __init__(self, root: str, systemd: bool = False) -> None:
        self.root = root
        self.systemd = systemd
        self.warnings: list[str] = []

    def create(self, id: str, bundle: str, streams: Three, wanted: Wanted) -> tuple[int, int]:
        with told_as(CREATE_FAILED), _console(wanted.terminal) as (ours, theirs):
            options = create.Options(
                pid_file=os.path.join(bundle, "init.pid"),
                console=theirs,
                no_pivot=wanted.no_pivot,
                new_keyring=wanted.new_keyring,
                streams=streams,
                systemd=self.systemd,
                warn=self.warnings.append,
            )
            made = create.create(self.root, id, bundle, options)
            return made.pid, receive(ours)

    def exec(self, id: str, exec_id: str, bundle: str, process: Process, streams: Three) -> tuple[int, int]:
        with told_as(EXEC_FAILED), _console(bool(process.get("terminal"))) as (ours, theirs):
            options = create.Options(
                pid_file=os.path.join(bundle, f"{exec_id}.pid"),
                console=theirs,
                streams=streams,
                warn=self.warnings.append,
            )
            pid = join.execute(self._load(id), process, options)
            return pid, receive(ours)

    def start(self, id: str) -> None:
        operate.start(self._load(id))

    def kill(self, id: str, number: int, all: bool) -> None:
        operate.kill(self._load(id), number, all=all)

    def delete(self, id: str, force: bool = False) -> None:
        try:
            container = self._load(id)
        except NotFound:
            create.remove_half_made(self.root, id)
            raise
        operate.delete(container, self.warnings.append, force=force)

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


def receive(connection: socket.socket | None) -> int:
    """The terminal's master that was sent over *connection*; -1 without one."""
    if connection is None:
        return -1
    _, descriptors, _, _ = socket.recv_fds(connection, 4096, 1)
    return descriptors[0]
