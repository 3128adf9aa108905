"""Stay with a container's process until it ends: ``run`` and ``exec`` without ``--detach``.

The command hands its signals on, copies between its own streams and the process's, and ends with the status of the
process. It is a subreaper, for the process's direct parent, the stage, is gone (child.py).

What the process has for its streams is never what the caller has open: a terminal of the container's own, or three
pipes. They become the user's, who may open /dev/stdout anew; were it the caller's file or terminal, that would be.
Source: runc@76d9cf5 docs/terminals.md, tty.go.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from ..linux import terminal

if TYPE_CHECKING:
    from ..oci.runtime import Box
    from .create import Options

_NOT_FORWARDED = {signal.SIGCHLD, signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGURG, signal.SIGWINCH}


class Ends(NamedTuple):
    """Our ends of a process's streams: the *console* socket that its terminal comes by, or the *pipes* 0, 1 and 2.

    *theirs* are the other ends, which are ours to close when the process has them.
    """

    console: int = -1
    pipes: tuple[int, ...] = ()
    theirs: tuple[int, ...] = ()


def prepare(options: Options, has_terminal: bool) -> tuple[Options, Ends]:
    """Streams for a process that is stayed with, and our ends of them; none, if somebody else shows its terminal."""
    if options.console >= 0:
        return options, Ends()
    if not has_terminal:
        (in_read, in_write), (out_read, out_write), (error_read, error_write) = (os.pipe() for _ in range(3))
        theirs = in_read, out_write, error_write
        return options._replace(streams=theirs), Ends(pipes=(in_write, out_read, error_read), theirs=theirs)
    import socket  # slow to import, and only for terminals

    size: Box | None = None
    if os.isatty(0):
        height, width = terminal.size(0)
        size = {"height": height, "width": width}
    ours, for_child = socket.socketpair()
    return options._replace(console=for_child.detach(), size=size), Ends(console=ours.detach())


def attend(pid: int, ends: Ends) -> int:
    """Wait for *pid*, forwarding signals, and copying to and from its streams. Its exit status.

    A process ended by signal n has status 128+n, as in a shell.
    """
    forward_signals(pid)
    ended = os.pidfd_open(pid)
    try:
        if ends.console >= 0:
            master = _receive_master(ends.console)
            with _raw_terminal(master):
                _copy(master, ended)
        elif ends.pipes:
            for each in ends.theirs:
                os.close(each)
            _pump(ends.pipes, ended)
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


def _receive_master(socket_descriptor: int) -> int:
    """The terminal's master, sent by the child over our end of the console socket."""
    import socket

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


def _pump(pipes: tuple[int, ...], ended: int) -> None:
    """Copy what arrives at our 0 to the first pipe, and what comes from the others to 1 and 2, until all have ended.

    A process that does not read now must be heard nevertheless. So a piece is read for it only when there is room,
    and one of PIPE_BUF bytes never has to wait then: pipe(7).
    """
    input, output, error = pipes
    targets, running = {output: 1, error: 2}, True
    poll = select.poll()
    for each in (0, output, error, ended):
        poll.register(each, select.POLLIN)
    while running or targets:
        for ready, _ in poll.poll():
            if ready == ended:
                poll.unregister(ended)
                running = False
            elif ready in targets and not _move(ready, targets[ready]):
                poll.unregister(ready)
                os.close(ready)  # and who goes on writing is told: SIGPIPE
                del targets[ready]
            elif ready == 0:  # there is something for it: is there room?
                poll.unregister(0)
                poll.register(input, select.POLLOUT)
            elif ready == input:
                poll.unregister(input)
                if _move(0, input, select.PIPE_BUF):
                    poll.register(0, select.POLLIN)
                else:
                    os.close(input)


def _move(source: int, target: int, most: int = 65536) -> bool:
    """Copy a piece of at most so many bytes; False at the end, or when nobody reads it."""
    try:
        chunk = os.read(source, most)
        while rest := chunk[os.write(target, chunk) :]:
            chunk = rest
    except OSError:
        return False  # EIO is how a terminal says end of file, and EPIPE that nobody listens
    return bool(chunk)
