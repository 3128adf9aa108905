"""A logging program: ``binary:///path?key=value`` instead of a file or FIFO.

The shim starts it for one process of a container, with

    3, 4                  the ends of two pipes: the output and the errors of the process, to be read to their end
    5                     to be closed when it is ready; only then is the process started
    key value ...         the query of the URI, as its arguments
    $CONTAINER_ID, $CONTAINER_NAMESPACE

With ``binary-v2`` the program writes a byte to 5 before it closes it. That was added because dying closes a descriptor
as well. For the older form we look closer: if the program is about to end and nobody else has the pipes open for
reading, it was not ready, and a process that writes would only die of SIGPIPE. (One that leaves a child behind, which
reads on, is welcome.) It ends by itself when the pipes do.

Source: containerd@301026e cmd/containerd-shim-runc-v2/process/io.go, ``NewBinaryIO``; core/runtime/v2/logging.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
from contextlib import ExitStack
from urllib.parse import parse_qsl, urlsplit

from ...errors import Unknown
from ...linux import process
from ..words import told_as

SCHEMES = ("binary", "binary-v2")
_IGNORED_BY_US = (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)


def start_logger(uri: str, id: str, namespace: str) -> tuple[int, int]:
    """Start the program of *uri* and wait until it is ready; the ends to write output and errors to.

    Raises:
        Unknown: it cannot be started, or ended before it was ready.
    """
    with ExitStack() as ours, ExitStack() as theirs:
        (out_read, out), (error_read, error), (ready, ready_write) = (_pipe(ours, theirs, each) for each in "rrw")
        with told_as("failed to start binary process"):
            pid = _spawn(uri, {3: out_read, 4: error_read, 5: ready_write}, id, namespace)
        theirs.close()
        said = os.read(ready, 1)
        if not said and (urlsplit(uri).scheme == "binary-v2" or _is_dead(pid, out, error)):
            os.kill(pid, signal.SIGTERM)  # our child, and not reaped yet: the number is still its own
            raise Unknown("logging binary did not call ready (it may have crashed or exited prematurely)")
        kept = os.dup(out), os.dup(error)
    for end in kept:
        os.set_inheritable(end, False)
    return kept


def _pipe(ours: ExitStack, theirs: ExitStack, theirs_is: str) -> tuple[int, int]:
    """A pipe whose reading ("r") or writing ("w") end will be the program's; both ends at numbers that no dup2 hits."""
    ends = []
    for number in os.pipe():
        ends.append(fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 10))
        os.close(number)
    for end, name in zip(ends, "rw", strict=True):
        (theirs if name == theirs_is else ours).callback(os.close, end)
    return ends[0], ends[1]


def _spawn(uri: str, given: dict[int, int], id: str, namespace: str) -> int:
    _, _, path, query, _ = urlsplit(uri)
    arguments = [word for pair in parse_qsl(query, keep_blank_values=True) for word in pair if word]
    environment = {**os.environ, "CONTAINER_ID": id, "CONTAINER_NAMESPACE": namespace}
    actions = [(os.POSIX_SPAWN_DUP2, end, number) for number, end in given.items()]
    return os.posix_spawn(path, [path, *arguments], environment, file_actions=actions, setsigdef=_IGNORED_BY_US)


def _is_dead(pid: int, *pipes: int) -> bool:
    """Whether the program has come to its end, and none of *pipes* has a reader left."""
    if not process.is_ending(pid):
        return False
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # a moment: then all it had open is closed
    poll = select.poll()
    for pipe in pipes:
        poll.register(pipe, 0)
    return sum(bool(events & select.POLLERR) for _, events in poll.poll(0)) == len(pipes)
