"""One shim, as the daemon sees it: a process that was started once, and a ttrpc connection to it.

It is started by its program's ``start`` (launcher.py), which leaves it behind and prints where it listens. From then
on everything is said over ttrpc, in the Task service of version 2 or 3: the same seventeen methods under two names.
The program's ``delete`` cleans up after a shim that died.

Nothing here knows whose shim it is: ``containerd-shim-runc-v2`` and ours are asked the same way.
Source: containerd@301026e core/runtime/v2/{binary,shim,shim_manager}.go, core/runtime/v2/README.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from typing import TypeVar

from google.protobuf.any_pb2 import Any
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError, Message

from minicontainerd.api.headers import NAMESPACE_TTRPC
from minicontainerd.api.runtime.task.v3.shim_pb2 import DeleteResponse, ShutdownRequest
from minicontainerd.api.ttrpc.client import Client
from minicontainerd.daemon.bundle import Bootstrap, Bundle, parse_bootstrap
from minicontainerd.daemon.launcher import Launcher
from minicontainerd.errors import ContainerdError, NotFound, Unknown

log = logging.getLogger(__name__)
M = TypeVar("M", bound=Message)

ANSWER_SECONDS = 5.0
"""How long a shim may take to say that it is there, or that it leaves."""


class Shim:
    """A shim that is up; :meth:`start` and :meth:`reattach` make one."""

    def __init__(self, bundle: Bundle, bootstrap: Bootstrap, client: Client, log_fifo: LogFifo) -> None:
        self.bundle = bundle
        self.bootstrap = bootstrap
        self.client = client
        self._log = log_fifo
        self._service = f"containerd.task.v{bootstrap.version}.Task"

    @classmethod
    async def start(cls, bundle: Bundle, binary: str, launcher: Launcher, options: Any | None) -> Shim:
        """Start the program *binary* for *bundle*; it will send its events to the daemon of *launcher*.

        Raises:
            Unknown: it failed; the message is what it printed.
            InvalidArgument: it did not say how to reach it.
        """
        log_fifo = LogFifo(bundle)
        try:
            bundle.choose(binary)
            stdin = options.SerializeToString() if options is not None else b""
            output = await launcher.run(bundle, binary, ["start"], stdin)
            bootstrap = parse_bootstrap(output)
            client = await Client.connect(bootstrap.socket)
        except BaseException:
            log_fifo.close()
            raise
        shim = cls(bundle, bootstrap, client, log_fifo)
        try:
            bundle.remember(bootstrap)
        except OSError:
            await shim.end()
            raise
        return shim

    @classmethod
    async def reattach(cls, bundle: Bundle) -> Shim:
        """Find again a shim that an earlier daemon started.

        Raises:
            NotFound: the bundle does not say how; its shim never came up.
            Unavailable: nobody listens there any more.
        """
        bootstrap = bundle.recall()
        if bootstrap is None:
            raise NotFound(f"bootstrap of {bundle.namespace}/{bundle.id}")
        client = await Client.connect(bootstrap.socket)
        return cls(bundle, bootstrap, client, LogFifo(bundle))

    async def call(self, method: str, request: Message, kind: type[M], timeout: float | None = None) -> M:
        """Call *method* of its Task service.

        Raises:
            ContainerdError: whatever it answered.
            Unavailable: it died.
        """
        metadata = {NAMESPACE_TTRPC: self.bundle.namespace}
        return await self.client.call(self._service, method, request, kind, metadata, timeout)

    async def end(self) -> None:
        """Ask it to leave, which it does if it has no container; it closes the connection, often before it answers."""
        with contextlib.suppress(ContainerdError):
            await self.call("Shutdown", ShutdownRequest(id=self.bundle.id), Empty, timeout=ANSWER_SECONDS)
        await self.close()

    async def close(self) -> None:
        """Let go of the connection; the shim goes on."""
        await self.client.close()
        self._log.close()


async def delete_dead(bundle: Bundle, launcher: Launcher) -> DeleteResponse:
    """Have the shim's program clean up after its process that died; answers how the container ended.

    Raises:
        Unknown: it failed; the message is what it printed.
    """
    output = await launcher.run(bundle, bundle.binary, ["-bundle", str(bundle.path), "delete"])
    try:
        return DeleteResponse.FromString(output)
    except DecodeError:
        raise Unknown(f"the shim printed {output[:200]!r} for delete") from None


class LogFifo:
    """What a shim logs, passed on to our own log. Opened before the shim starts, since it opens the other end."""

    def __init__(self, bundle: Bundle) -> None:
        self._name = f"{bundle.namespace}/{bundle.id}"
        # read and write, so that it never comes to its end, however often a shim opens and closes it
        self._descriptor = os.open(bundle.path / "log", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        asyncio.get_running_loop().add_reader(self._descriptor, self._read)

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for line in os.read(self._descriptor, 1 << 16).decode(errors="replace").splitlines():
                log.info("shim %s: %s", self._name, line)

    def close(self) -> None:
        """Stop listening."""
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
