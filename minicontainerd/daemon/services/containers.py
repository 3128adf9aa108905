"""Containers: the records of what could run."""

from __future__ import annotations

from collections.abc import AsyncIterator

from google.protobuf.empty_pb2 import Empty

from minicontainerd.api.events.container_pb2 import ContainerCreate, ContainerDelete, ContainerUpdate
from minicontainerd.api.rpc import Call
from minicontainerd.api.services.containers.v1.containers_pb2 import (
    Container,
    CreateContainerRequest,
    CreateContainerResponse,
    DeleteContainerRequest,
    GetContainerRequest,
    GetContainerResponse,
    ListContainerMessage,
    ListContainersRequest,
    ListContainersResponse,
    UpdateContainerRequest,
    UpdateContainerResponse,
)
from minicontainerd.daemon import blocking
from minicontainerd.daemon.collector import Collector
from minicontainerd.daemon.events import Exchange
from minicontainerd.store.containers import Containers


class ContainersService:
    """``containerd.services.containers.v1.Containers``."""

    def __init__(self, containers: Containers, exchange: Exchange, collector: Collector) -> None:
        self._containers = containers
        self._exchange = exchange
        self._collector = collector

    async def get(self, request: GetContainerRequest, call: Call) -> GetContainerResponse:
        """One record."""
        return GetContainerResponse(container=self._containers.get(call.namespace, request.id))

    async def list(self, request: ListContainersRequest, call: Call) -> ListContainersResponse:
        """The records that match any filter."""
        found = await blocking.call(self._containers.list, call.namespace, list(request.filters))
        return ListContainersResponse(containers=found)

    async def list_stream(self, request: ListContainersRequest, call: Call) -> AsyncIterator[ListContainerMessage]:
        """The same, one message each."""
        for container in await blocking.call(self._containers.list, call.namespace, list(request.filters)):
            yield ListContainerMessage(container=container)

    async def create(self, request: CreateContainerRequest, call: Call) -> CreateContainerResponse:
        """Write a new record."""
        made = await blocking.call(self._containers.create, call.namespace, request.container)
        self._exchange.publish(call.namespace, "/containers/create", _created(made))
        return CreateContainerResponse(container=made)

    async def update(self, request: UpdateContainerRequest, call: Call) -> UpdateContainerResponse:
        """Change the fields that the mask names."""
        paths = list(request.update_mask.paths)
        new = await blocking.call(self._containers.update, call.namespace, request.container, paths)
        event = ContainerUpdate(id=new.id, image=new.image, labels=dict(new.labels), snapshot_key=new.snapshot_key)
        self._exchange.publish(call.namespace, "/containers/update", event)
        return UpdateContainerResponse(container=new)

    async def delete(self, request: DeleteContainerRequest, call: Call) -> Empty:
        """Remove a record."""
        await blocking.call(self._containers.delete, call.namespace, request.id)
        self._exchange.publish(call.namespace, "/containers/delete", ContainerDelete(id=request.id))
        await self._collector.after_removal()
        return Empty()


def _created(container: Container) -> ContainerCreate:
    event = ContainerCreate(id=container.id, image=container.image)
    event.runtime.name = container.runtime.name
    if container.runtime.HasField("options"):
        event.runtime.options.CopyFrom(container.runtime.options)
    return event
