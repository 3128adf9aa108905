"""Stay with a container's process until it ends: ``run`` and ``exec`` without ``--detach``.

The command hands its signals on, copies between its own terminal and the container's if there is one, and ends with
the status of the process. It is a subreaper, for the process's direct parent, the stage, is gone (child.py).
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from ..linux import terminal

_NOT_FORWARDED = {signal.SIGCHLD, signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGURG, signal.SIGWINCH}


def attend(pid: int, master: int = -1) -> int:
    """Wait for *pid*, forwarding signals, and copying to and from its terminal's *master*. Its exit status.

    A process ended by signal n has status 128+n, as in a shell.
    """
    forward_signals(pid)
    ended = os.pidfd_open(pid)
    try:
        if master < 0:
            poll = select.poll()
            poll.register(ended, select.POLLIN)
            while not poll.poll():
                continue
        else:
            with _raw_terminal(master):
                _copy(master, ended)
    finally:
        os.close(ended)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return 128 - status if status < 0 else status


def forward_signals(pid: int) -> None:
    """From now on, signals sent to the command go to *pid*."""

    def forward(number: int, frame: object) -> None:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass  # it has just ended, which the caller will notice

    for number in signal.valid_signals() - _NOT_FORWARDED:
        if number < signal.SIGRTMIN:
            signal.signal(number, forward)


def receive_master(socket_descriptor: int) -> int:
    """The terminal's master, sent by the child over our end of the console socket."""
    import socket  # slow to import, and only for terminals

    with socket.socket(fileno=socket_descriptor) as connection:
        _, descriptors, _, _ = socket.recv_fds(connection, 4096, 1)
    return descriptors[0]


@contextmanager
def _raw_terminal(master: int) -> Iterator[None]:
    """Our own terminal passes every key on untouched, and the container's is kept as large as ours."""
    import termios
    import tty

    if not os.isatty(0):
        yield
        return

    def follow_size(*_: object) -> None:
        terminal.resize(master, *terminal.size(0))

    former = termios.tcgetattr(0)
    follow_size()
    signal.signal(signal.SIGWINCH, follow_size)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, former)


def _copy(master: int, ended: int) -> None:
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(master, select.POLLIN)
    poll.register(ended, select.POLLIN)
    while True:
        ready = dict(poll.poll())
        if master in ready and not _move(master, 1):
            return  # the last slave is closed
        if 0 in ready and not _move(0, master):
            poll.unregister(0)
        if ended in ready and master not in ready:
            return


def _move(source: int, target: int) -> bool:
    try:
        chunk = os.read(source, 65536)
    except OSError:
        return False  # EIO is how a terminal says end of file
    while chunk:
        written = os.write(target, chunk)
        if written == len(chunk):
            return True
        chunk = chunk[written:]
    return False
