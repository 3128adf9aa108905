"""The daemon at work: its plugins built, its sockets open, until a signal ends it.

Two sockets: gRPC for clients, and beside it, with ``.ttrpc`` behind the name, ttrpc for shims. A daemon holds a lock
on its root folder and one on its state folder, so that two of them never write to the same files; the lock goes with
the process, however that ends. Shims are found again before the first client is answered.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import IO, Any

from grpc_health.v1 import health_pb2

from minicontainerd.api.grpc_server import Limits, Method, Server
from minicontainerd.api.rpc import methods
from minicontainerd.api.services.ttrpc.events.v1.events_pb2 import ForwardRequest
from minicontainerd.api.ttrpc.server import Server as TtrpcServer
from minicontainerd.daemon import builtin
from minicontainerd.daemon.collector import Collector
from minicontainerd.daemon.config import Config
from minicontainerd.daemon.launcher import Launcher
from minicontainerd.daemon.plugins import Context, Graph, Plugin
from minicontainerd.daemon.services.events import EventsService
from minicontainerd.daemon.task_manager import TaskManager
from minicontainerd.daemon.zygote import Zygote
from minicontainerd.errors import FailedPrecondition

log = logging.getLogger(__name__)

GRACE = 1.0
"""Seconds that running calls have when the daemon ends; a client that waits for a container has to call again."""


async def serve(config: Config, zygote: Zygote | None = None) -> None:
    """Serve until SIGTERM or SIGINT; our shims are forked by *zygote*, if there is one.

    Raises:
        FailedPrecondition: another daemon uses the root or state folder.
    """
    async with AsyncExitStack() as stack:
        for folder in (config.root, config.state):
            stack.enter_context(lock(Path(folder)))
        debug = config.debug.level in ("debug", "trace")
        graph = build(config, Launcher(config.grpc.address, zygote, debug=debug))
        stack.callback(graph.close)
        tasks = _one(graph, builtin.RUNTIME, "task", TaskManager)
        await tasks.load()
        stack.push_async_callback(tasks.disconnect)
        ttrpc = await _serve_shims(config, _one(graph, builtin.GRPC, "events", EventsService))
        stack.push_async_callback(ttrpc.stop)
        collecting = asyncio.create_task(_one(graph, builtin.GC, "scheduler", Collector).run(), name="collector")
        stack.callback(collecting.cancel)
        server = await _serve_clients(config, graph)
        stack.push_async_callback(server.stop, GRACE)
        await _until_signal()


def build(config: Config, launcher: Launcher) -> Graph:
    """Make every plugin that *config* does not disable."""
    graph = Graph()
    plugins = builtin.builtin(launcher)

    def context(plugin: Plugin) -> Context:
        settings = config.plugins.get(plugin.uri, {})
        return Context(plugin, Path(config.root), Path(config.state), settings, graph)

    graph.build([plugin for plugin in plugins if plugin.uri not in config.disabled_plugins], context)
    return graph


def lock(folder: Path) -> IO[str]:
    """Make *folder* and hold its lock for as long as the answered file is open.

    Raises:
        FailedPrecondition: another process holds it; the message says which.
    """
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    file = (folder / "lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise FailedPrecondition(
            f"{folder} is in use by another daemon (pid {holder}); stop it, or choose other --root and --state folders"
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def _one(graph: Graph, type: str, id: str, kind: type[Any]) -> Any:
    for made in graph.made:
        if (made.plugin.type, made.plugin.id) == (type, id):
            if isinstance(made.instance, kind):
                return made.instance
            raise FailedPrecondition(f"the daemon cannot do without the plugin {made.plugin.uri}: {made.error}")
    raise FailedPrecondition(f"the daemon cannot do without the plugin {type}.{id}; do not disable it")


async def _serve_clients(config: Config, graph: Graph) -> Server:
    """Open the gRPC socket; the configuration's owner may use it."""
    instances = {made.plugin.id: made.instance for made in graph.made if made.plugin.type == builtin.GRPC}
    implementations = {service: instances.get(id) for service, id in builtin.SERVICES.items()}
    limits = Limits(config.grpc.max_recv_message_size, config.grpc.max_send_message_size)
    server = Server({**methods(implementations), **_health()}, limits)
    path = _free_socket(config.grpc.address)
    await server.start(str(path), config.grpc.uid, config.grpc.gid)
    log.info("serving on %s", path)
    return server


async def _serve_shims(config: Config, events: EventsService) -> TtrpcServer:
    """Open the ttrpc socket, on which shims send events."""
    server = TtrpcServer()
    server.add("containerd.services.events.ttrpc.v1.Events", "Forward", ForwardRequest, events.from_shim)
    path = _free_socket(config.grpc.address + ".ttrpc")
    await server.start(str(path))
    path.chmod(0o660)
    return server


def _health() -> dict[str, Method]:
    """The standard health service: clients ask before anything else, dockerd refuses to start without it."""

    async def check(request: object, metadata: object) -> health_pb2.HealthCheckResponse:
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)

    name = "grpc.health.v1.Health"
    return {f"/{name}/Check": Method(f"{name}.Check", check, health_pb2.HealthCheckRequest.FromString)}


def _free_socket(address: str) -> Path:
    """The path of a socket to bind; what an earlier daemon left there is removed, for we hold its locks."""
    path = Path(address)
    path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    return path


async def _until_signal() -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    await ended.wait()
