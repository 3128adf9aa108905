"""Namespaces. The calls need no namespace header; each event is published in the namespace that it is about."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from minicontainerd.api.events.namespace_pb2 import NamespaceCreate, NamespaceDelete, NamespaceUpdate
from minicontainerd.api.rpc import Call
from minicontainerd.api.services.namespaces.v1.namespace_pb2 import (
    CreateNamespaceRequest,
    CreateNamespaceResponse,
    DeleteNamespaceRequest,
    GetNamespaceRequest,
    GetNamespaceResponse,
    ListNamespacesRequest,
    ListNamespacesResponse,
    UpdateNamespaceRequest,
    UpdateNamespaceResponse,
)
from minicontainerd.daemon import blocking
from minicontainerd.daemon.events import Exchange
from minicontainerd.store.namespaces import Namespaces


class NamespacesService:
    """``containerd.services.namespaces.v1.Namespaces``."""

    def __init__(self, namespaces: Namespaces, exchange: Exchange) -> None:
        self._namespaces = namespaces
        self._exchange = exchange

    async def get(self, request: GetNamespaceRequest, call: Call) -> GetNamespaceResponse:
        """The labels of one."""
        return GetNamespaceResponse(namespace=self._namespaces.get(request.name))

    async def list(self, request: ListNamespacesRequest, call: Call) -> ListNamespacesResponse:
        """All of them."""
        return ListNamespacesResponse(namespaces=await blocking.call(self._namespaces.list))

    async def create(self, request: CreateNamespaceRequest, call: Call) -> CreateNamespaceResponse:
        """Make one."""
        asked = request.namespace
        made = await blocking.call(self._namespaces.create, asked.name, asked.labels)
        self._exchange.publish(
            made.name, "/namespaces/create", NamespaceCreate(name=made.name, labels=dict(made.labels))
        )
        return CreateNamespaceResponse(namespace=made)

    async def update(self, request: UpdateNamespaceRequest, call: Call) -> UpdateNamespaceResponse:
        """Change its labels; makes it where missing."""
        asked = request.namespace
        new = await blocking.call(self._namespaces.update, asked.name, asked.labels, list(request.update_mask.paths))
        self._exchange.publish(new.name, "/namespaces/update", NamespaceUpdate(name=new.name, labels=dict(new.labels)))
        return UpdateNamespaceResponse(namespace=new)

    async def delete(self, request: DeleteNamespaceRequest, call: Call) -> Empty:
        """Remove one that is empty."""
        await blocking.call(self._namespaces.delete, request.name)
        self._exchange.publish(request.name, "/namespaces/delete", NamespaceDelete(name=request.name))
        return Empty()
