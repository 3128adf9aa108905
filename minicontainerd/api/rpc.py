"""Services, from their descriptors: every method has a handler, built or not.

grpc's own generator writes a module per service with a class to inherit from and a stub to call. The descriptors
that protobuf has loaded say the same, so two small functions do here what forty generated files would.

A request that was begun is carried to its end even if its client goes away meanwhile: half a container helps nobody.
Only what is marked :func:`interruptible`, because it may wait for ever, ends with the call.

A service is any object with a coroutine per method, named in Python's way: ``ListStream`` is ``list_stream``. It takes
the request (or, where the client streams, an async iterator of them) and a :class:`Call`; it returns the response, or,
where the server streams, is an async generator. What the object lacks answers UNIMPLEMENTED with a sentence.
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from minicontainerd.api import headers
from minicontainerd.api.grpc_server import MAX_MESSAGE, Method
from minicontainerd.errors import Unimplemented

MODULES = (
    "containers.v1.containers",
    "content.v1.content",
    "diff.v1.diff",
    "events.v1.events",
    "images.v1.images",
    "introspection.v1.introspection",
    "leases.v1.leases",
    "mounts.v1.mounts",
    "namespaces.v1.namespace",
    "sandbox.v1.sandbox",
    "snapshots.v1.snapshots",
    "streaming.v1.streaming",
    "tasks.v1.tasks",
    "transfer.v1.transfer",
    "version.v1.version",
)
CHANNEL_OPTIONS = [("grpc.max_receive_message_length", MAX_MESSAGE), ("grpc.max_send_message_length", MAX_MESSAGE)]


@dataclass(frozen=True)
class Call:
    """What is known of a request beside its message."""

    metadata: Mapping[str, str]

    @functools.cached_property
    def namespace(self) -> str:
        """The namespace meant.

        Raises:
            FailedPrecondition: none was named.
            InvalidArgument: it is no identifier.
        """
        return headers.namespace(self.metadata)

    @property
    def lease(self) -> str:
        """The lease that what this call makes belongs to; empty for none."""
        return self.metadata.get(headers.LEASE, "")


def services() -> list[ServiceDescriptor]:
    """Every gRPC service of containerd's API."""
    found: list[ServiceDescriptor] = []
    for name in MODULES:
        module = importlib.import_module(f"minicontainerd.api.services.{name}_pb2")
        found += module.DESCRIPTOR.services_by_name.values()
    return found


def snake(name: str) -> str:
    """The Python name of a method.

    >>> snake("ListStream"), snake("CloseIO")
    ('list_stream', 'close_io')
    """
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def methods(implementations: Mapping[str, object]) -> dict[str, Method]:
    """How each method is answered, by its path; *implementations* maps the full names of services to their objects."""
    found = {}
    for service in services():
        for method in service.methods:
            found[f"/{service.full_name}/{method.name}"] = _method(method, implementations.get(service.full_name))
    return found


def _method(method: MethodDescriptor, implementation: object) -> Method:
    function = getattr(implementation, snake(method.name), None) or _unimplemented(method)
    return Method(
        name=method.full_name,
        function=lambda request, metadata: function(request, Call(metadata)),
        parse=message_factory.GetMessageClass(method.input_type).FromString,
        client_streams=bool(method.client_streaming),
        server_streams=bool(method.server_streaming),
        interruptible=getattr(function, "interruptible", False),
    )


def _unimplemented(method: MethodDescriptor) -> Callable[..., Any]:
    sentence = f"method {method.name} of {method.containing_service.full_name} is not built yet"

    async def unary(request: object, call: Call) -> None:
        raise Unimplemented(sentence)

    async def streaming(request: object, call: Call) -> AsyncIterator[None]:
        if sentence:  # always; without a yield below it this would not be a generator
            raise Unimplemented(sentence)
        yield None

    return streaming if method.server_streaming else unary


F = TypeVar("F", bound=Callable[..., Any])


def interruptible(function: F) -> F:
    """Mark a method that only waits, so that it ends when its client goes away."""
    function.interruptible = True  # type: ignore[attr-defined]
    return function
