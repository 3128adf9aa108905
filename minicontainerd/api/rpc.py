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

import asyncio
import functools
import importlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from minicontainerd.api import headers
from minicontainerd.errors import ContainerdError, Internal, Unimplemented, Unknown

log = logging.getLogger(__name__)

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
MAX_MESSAGE = 16 << 20
"""Bytes; containerd's defaults/defaults.go. gRPC's own default for receiving is 4 MiB."""

CHANNEL_OPTIONS = [("grpc.max_receive_message_length", MAX_MESSAGE), ("grpc.max_send_message_length", MAX_MESSAGE)]
CODES = {code.value[0]: code for code in grpc.StatusCode}


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


def handlers(implementations: Mapping[str, object]) -> list[Any]:
    """The gRPC handlers of every service; *implementations* maps the full names of services to their objects."""
    return [
        grpc.method_handlers_generic_handler(
            service.full_name, {method.name: _handler(method, implementations) for method in service.methods}
        )
        for service in services()
    ]


def _handler(method: MethodDescriptor, implementations: Mapping[str, object]) -> Any:
    service = method.containing_service
    function = getattr(implementations.get(service.full_name), snake(method.name), None)
    if function is None:
        function = _unimplemented(method)
    make = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[bool(method.client_streaming), bool(method.server_streaming)]
    wrap = _streaming if method.server_streaming else _unary
    return make(
        wrap(function, method.full_name),
        request_deserializer=message_factory.GetMessageClass(method.input_type).FromString,
        response_serializer=message_factory.GetMessageClass(method.output_type).SerializeToString,
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


def _unary(function: Callable[..., Awaitable[Any]], name: str) -> Callable[..., Awaitable[Any]]:
    ends_with_call = getattr(function, "interruptible", False)

    async def answer(request: Any, context: Any) -> Any:
        work = asyncio.ensure_future(function(request, _call(context)))
        try:
            return await (work if ends_with_call else asyncio.shield(work))
        except Exception as error:
            await _abort(context, error, name)
        except asyncio.CancelledError:
            work.add_done_callback(_note_failure)
            raise

    return answer


def _note_failure(work: asyncio.Future[Any]) -> None:
    """The client of this work has gone; its error, if any, is for the log."""
    if not work.cancelled() and work.exception() is not None:
        log.info("a request whose client had gone failed: %s", work.exception())


def _streaming(function: Callable[..., AsyncIterator[Any]], name: str) -> Callable[..., AsyncIterator[Any]]:
    async def answer(request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            async for response in function(request, _call(context)):
                yield response
        except Exception as error:
            await _abort(context, error, name)

    return answer


def _call(context: Any) -> Call:
    metadata: Iterable[tuple[str, str | bytes]] = context.invocation_metadata() or ()
    return Call({key: value for key, value in metadata if isinstance(value, str)})


async def _abort(context: Any, error: Exception, name: str) -> None:
    """Answer *error* as a status; only what no caller could have caused goes to the log."""
    problem = translate(error)
    if isinstance(problem, Internal):
        log.error("%s failed", name, exc_info=error)
    await context.abort(CODES[problem.code], str(problem))


def translate(error: Exception) -> ContainerdError:
    """*error* as one of ours: a failed system call keeps its path and reason, anything else is a fault of this code."""
    if isinstance(error, ContainerdError):
        return error
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return Unknown(f"{where}{(error.strerror or str(error)).lower()}")
    return Internal(f"{type(error).__name__}: {error}")
