"""The daemon's side of the zygote: keep one, and have it carry out our shim's command lines (run/shim/zygote.py).

Where it is gone, another is started and the command tried once more; where that fails too, the caller is told, and
starts the program itself. A command that is tried twice does no harm: the second ``start`` finds the address free, or
held by somebody who answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import subprocess
import threading
from collections.abc import Mapping
from typing import Any

from minicontainerd.daemon.blocking import call
from minicontainerd.errors import Unavailable, Unknown

log = logging.getLogger(__name__)


class Zygote:
    """A zygote of the shim *program*; :meth:`start` may be called before there is an event loop."""

    def __init__(self, program: str) -> None:
        self.program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._starting = threading.Lock()

    @property
    def pid(self) -> int:
        """Its process, 0 while there is none."""
        return self._process.pid if self._process is not None else 0

    def start(self) -> None:
        """Start it, unless it runs. It is ready to be asked at once; it answers when it has imported everything."""
        with self._starting:
            if self._process is not None and self._process.poll() is None:
                return
            self._let_go()
            ours, theirs = socket.socketpair()
            try:
                with theirs:
                    command, null = [self.program, "zygote"], subprocess.DEVNULL
                    self._process = subprocess.Popen(
                        command, stdin=theirs.fileno(), stdout=null, start_new_session=True
                    )
            except OSError:
                ours.close()
                raise
            self._control = ours

    async def run(self, arguments: list[str], folder: str, environment: Mapping[str, str], given: bytes) -> bytes:
        """Carry out a command line of our shim in *folder*, with *given* as standard input; its standard output.

        *environment* is added to the one that we had when the zygote started.

        Raises:
            Unknown: it failed; the message is what it printed.
            Unavailable: there is no zygote, and none can be started.
        """
        fields = {"arguments": arguments, "folder": folder, "environment": dict(environment)}
        request = json.dumps({**fields, "input": given.decode("latin-1")}).encode()
        for _ in range(2):
            try:
                return _outcome(await self._ask(request))
            except OSError as error:
                log.warning("the zygote is gone (%s); starting another", error)
                with contextlib.suppress(OSError):
                    await call(self.start)
        raise Unavailable(f"no zygote of {self.program} can be kept alive")

    def close(self) -> None:
        """Let it go: it ends by itself. The shims that it forked go on."""
        with self._starting:
            self._let_go()

    async def _ask(self, request: bytes) -> bytes:
        if self._control is None:
            raise ConnectionResetError("not started")
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(self._control, [b"."], [theirs.fileno()])
            except OSError:
                ours.close()
                raise
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        try:
            writer.write(request)
            writer.write_eof()
            answer = await reader.read()
        finally:
            writer.close()
        if not answer:
            raise ConnectionResetError("it closed the connection without an answer")
        return answer

    def _let_go(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


def _outcome(answer: bytes) -> bytes:
    fields: dict[str, Any] = json.loads(answer)
    if fields["status"]:
        raise Unknown(f"{fields['errors']}: exit status {fields['status']}")
    output: str = fields["output"]
    return output.encode("latin-1")
