"""The zygote: a Python that has imported everything a shim needs, and only has to be forked to be one.

A start of Python costs more than a start of a container. So the daemon starts this process once, before anything
else, and has it carry out the shim's command lines; the daemon itself, with its threads, could not fork safely.
What is forked shares the memory of all that was imported, until one side writes to it. One child is always forked in
advance: it waits where the daemon asks, so that not even the fork is waited for.

::

    daemon                       zygote                       child
                                 fork ──────────────────────▶ waits
    a pair of sockets
    one end of it ──────────────────────────────────────────▶ takes it
                                 fork ─▶ (the next)     ◀────  says so
    request, end of file ───────────────────────────────────▶ carries it out
    ◀───────────────────────────────────────────────────────  answer, end of file; a shim stays, the rest ends

What is asked is what the program would be started with, and what is answered is what it would have left: so a shim is
the same whether forked or executed, and where there is no zygote the daemon executes it. A request is ``{"arguments",
"folder", "environment", "input"}``, the environment being what is added to the daemon's own. An answer is ``{"status",
"output", "errors"}``. Bytes are written as Latin-1.

The zygote ends when the daemon's end of its socket is closed, however the daemon ended. Its children do not.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
from typing import NoReturn

from ...errors import ContainerdError
from ...linux import process
from ..device_rules import keep_usual_program
from .main import NAME, carry_out, stay
from .rehearsal import rehearse

_TAKEN, _CLOSED = b"t", b"c"


def serve_forks() -> None:
    """Fork a child for each socket that comes in by standard input, until that is closed."""
    control = socket.socket(fileno=os.dup(0))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps for us
    _import_everything()
    while _fork_one(control) != _CLOSED:
        continue


def _fork_one(control: socket.socket) -> bytes:
    """Fork a child to take the next socket from *control*; what it said of that, nothing if it died before."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(reading)
        if not select.select([control], [], [], 0)[0]:  # nobody is waiting already
            rehearse()
        _, received, _, _ = socket.recv_fds(control, 1, 1)
        os.write(writing, _TAKEN if received else _CLOSED)
        os.close(writing)
        control.close()
        if received:
            _carry_out(socket.socket(fileno=received[0]))
        os._exit(0)
    os.close(writing)
    said = os.read(reading, 1)
    os.close(reading)
    return said


def _import_everything() -> None:
    """All that a shim may need, so that nothing is imported per container."""
    from . import inform, server, service  # noqa: F401

    keep_usual_program()
    # What is called often, Python rewrites in place, and what is looked up it remembers: better once, here, than in
    # every copy.
    for _ in range(20):
        rehearse()
    # Out of the collector's sight: to look at an object is to write to it, and its page would no longer be shared.
    gc.freeze()


def _carry_out(connection: socket.socket) -> NoReturn:
    """One command line, in the child that was forked for it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    server = None
    answer = {"status": 0, "output": "", "errors": ""}
    try:
        request = json.loads(_read_all(connection))
        os.chdir(request["folder"])
        os.environ.update(request["environment"])
        output, server = carry_out(request["arguments"], lambda: bytes(request["input"].encode("latin-1")))
        answer["output"] = output.decode("latin-1")
    except (ContainerdError, OSError, ValueError) as error:
        answer |= {"status": 1, "errors": f"{NAME}: {error}"}
    try:
        connection.sendall(json.dumps(answer).encode())
    except OSError:  # the daemon is gone, and nobody will ever ask for the server that would be
        if server is not None:
            os.unlink(server.path)
        os._exit(1)
    connection.close()
    if server is not None:
        process.set_command_line([NAME, *request["arguments"]])
        stay(server)
    os._exit(0)


def _read_all(connection: socket.socket) -> bytes:
    chunks = []
    while chunk := connection.recv(1 << 16):
        chunks.append(chunk)
    return b"".join(chunks)
