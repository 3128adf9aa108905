"""Introspection: what this daemon is and which plugins it is made of."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from google.protobuf.empty_pb2 import Empty
from google.rpc.status_pb2 import Status

from minicontainerd.api import any as typeurl
from minicontainerd.api.filters import Lookup, fields, parse
from minicontainerd.api.rpc import Call
from minicontainerd.api.services.introspection.v1.introspection_pb2 import (
    Plugin,
    PluginInfoRequest,
    PluginInfoResponse,
    PluginsRequest,
    PluginsResponse,
    ServerResponse,
)
from minicontainerd.api.types.introspection_pb2 import RuntimeInfo, RuntimeRequest
from minicontainerd.api.types.platform_pb2 import Platform
from minicontainerd.daemon import launcher
from minicontainerd.daemon.plugins import Graph, Made, Skip
from minicontainerd.errors import NotFound, Unimplemented, Unknown
from minicontainerd.oci import platform


class IntrospectionService:
    """``containerd.services.introspection.v1.Introspection``."""

    def __init__(self, graph: Graph, root: Path) -> None:
        self._graph = graph
        self._uuid = root / "uuid"

    async def plugins(self, request: PluginsRequest, call: Call) -> PluginsResponse:
        """The plugins that match any filter."""
        wanted = parse(request.filters)
        every = [_to_wire(made) for made in self._graph.made]
        return PluginsResponse(plugins=[plugin for plugin in every if wanted.match(_lookup(plugin))])

    async def server(self, request: Empty, call: Call) -> ServerResponse:
        """The identity of this daemon's root folder, and which process this is."""
        if not self._uuid.exists():
            self._uuid.write_text(str(uuid.uuid4()))
        namespace = os.stat("/proc/self/ns/pid").st_ino
        return ServerResponse(uuid=self._uuid.read_text(), pid=os.getpid(), pidns=namespace)

    async def plugin_info(self, request: PluginInfoRequest, call: Call) -> PluginInfoResponse:
        """What a plugin says of itself; of the runtime, what the shim named in the options says."""
        for made in self._graph.made:
            if (made.plugin.type, made.plugin.id) == (request.type, request.id):
                break
        else:
            raise NotFound(f"plugin {request.type}.{request.id}")
        if request.type != "io.containerd.runtime.v2":
            raise Unimplemented(f"plugin {request.type}.{request.id} has nothing to tell")
        asked = typeurl.unpack(request.options, RuntimeRequest)
        binary = launcher.find_binary(asked.runtime_path)
        info = RuntimeInfo.FromString(await launcher.runtime_info(binary, asked.options.SerializeToString()))
        return PluginInfoResponse(plugin=_to_wire(made), extra=typeurl.pack(info))


def _to_wire(made: Made) -> Plugin:
    plugin = Plugin(
        type=made.plugin.type,
        id=made.plugin.id,
        requires=made.plugin.requires,
        capabilities=made.plugin.capabilities,
        exports=made.exports,
    )
    if made.plugin.platforms:
        host = platform.host()
        plugin.platforms.append(Platform(os=host.os, architecture=host.architecture, variant=host.variant))
    if made.error is not None:
        words = f"{made.error}: skip plugin" if isinstance(made.error, Skip) else str(made.error)
        plugin.init_err.CopyFrom(Status(code=Unknown.code, message=words))
    return plugin


def _lookup(plugin: Plugin) -> Lookup:
    platforms = ",".join(f"{each.os}/{each.architecture}" for each in plugin.platforms)
    return fields(
        type=plugin.type, id=plugin.id, platforms=platforms or None, capabilities=dict.fromkeys(plugin.capabilities, "")
    )
