"""Leases."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from minicontainerd.api.rpc import Call
from minicontainerd.api.services.leases.v1.leases_pb2 import (
    AddResourceRequest,
    CreateRequest,
    CreateResponse,
    DeleteRequest,
    DeleteResourceRequest,
    ListRequest,
    ListResourcesRequest,
    ListResourcesResponse,
    ListResponse,
)
from minicontainerd.daemon import blocking
from minicontainerd.daemon.collector import Collector
from minicontainerd.store.leases import Leases


class LeasesService:
    """``containerd.services.leases.v1.Leases``."""

    def __init__(self, leases: Leases, collector: Collector) -> None:
        self._leases = leases
        self._collector = collector

    async def create(self, request: CreateRequest, call: Call) -> CreateResponse:
        """A new lease; without an id it gets one."""
        return CreateResponse(
            lease=await blocking.call(self._leases.create, call.namespace, request.id, request.labels)
        )

    async def delete(self, request: DeleteRequest, call: Call) -> Empty:
        """End a lease; with ``sync``, collect garbage before answering."""
        await blocking.call(self._leases.delete, call.namespace, request.id)
        await self._collector.after_removal(wait=request.sync)
        return Empty()

    async def list(self, request: ListRequest, call: Call) -> ListResponse:
        """The leases that match any filter."""
        return ListResponse(leases=await blocking.call(self._leases.list, call.namespace, list(request.filters)))

    async def add_resource(self, request: AddResourceRequest, call: Call) -> Empty:
        """Put a thing under a lease."""
        await blocking.call(self._leases.add_resource, call.namespace, request.id, request.resource)
        return Empty()

    async def delete_resource(self, request: DeleteResourceRequest, call: Call) -> Empty:
        """Take it out again."""
        await blocking.call(self._leases.delete_resource, call.namespace, request.id, request.resource)
        await self._collector.after_removal()
        return Empty()

    async def list_resources(self, request: ListResourcesRequest, call: Call) -> ListResourcesResponse:
        """What a lease keeps."""
        found = await blocking.call(self._leases.resources, call.namespace, request.id)
        return ListResourcesResponse(resources=found)
