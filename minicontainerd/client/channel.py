"""The connection: a gRPC channel to a unix socket, with the namespace in every request's header.

Every call names its method and the type of its answer, so that a type checker knows both; there are no generated
stubs. A status that is not OK becomes the exception of the same meaning, see ``errors.py``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from minicontainerd.api import headers
from minicontainerd.api.rpc import CHANNEL_OPTIONS
from minicontainerd.errors import ContainerdError, Unavailable, from_code

M = TypeVar("M", bound=Message)


class Channel:
    """A connection to the daemon at *address*; *timeout* is how many seconds it has to answer at all."""

    def __init__(self, address: str, namespace: str, timeout: float | None = None) -> None:
        self.address = address.removeprefix("unix://")
        self.namespace = namespace
        self.timeout = timeout
        self._channel = grpc.insecure_channel(f"unix:{self.address}", options=CHANNEL_OPTIONS)
        self._lease: ContextVar[str] = ContextVar("lease", default="")

    @property
    def lease(self) -> str:
        """The lease that is named in this context's requests; empty for none."""
        return self._lease.get()

    @contextlib.contextmanager
    def under(self, lease: str) -> Iterator[None]:
        """Name *lease* in the requests made inside this block (not in threads that it starts, unless told to)."""
        token = self._lease.set(lease)
        try:
            yield
        finally:
            self._lease.reset(token)

    def metadata(self) -> list[tuple[str, str]]:
        """The headers of a request."""
        pairs = [(headers.NAMESPACE, self.namespace)] if self.namespace else []
        return [*pairs, (headers.LEASE, self.lease)] if self.lease else pairs

    def call(self, method: str, request: Message, kind: type[M], timeout: float | None = None) -> M:
        """One request, one answer of type *kind*. *method* is ``<service>/<method>`` without ``containerd.services.``.

        Raises:
            ContainerdError: the daemon's answer.
            Unavailable: nobody listens at the address.
        """
        stub = self._channel.unary_unary(_path(method), type(request).SerializeToString, kind.FromString)
        with _translated(self.address):
            answer: M = stub(request, metadata=self.metadata(), timeout=timeout or self.timeout)
            return answer

    def stream(self, method: str, request: Message, kind: type[M]) -> Iterator[M]:
        """One request, many answers. Leaving the iterator early ends the call."""
        stub = self._channel.unary_stream(_path(method), type(request).SerializeToString, kind.FromString)
        with _translated(self.address):
            answers = stub(request, metadata=self.metadata())
            try:
                yield from answers
            finally:
                answers.cancel()

    def converse(self, method: str, requests: Iterable[Message], kind: type[M]) -> Any:
        """Many requests and many answers; the answers are drawn with :meth:`next`."""
        stub = self._channel.stream_stream(_path(method), _serialize, kind.FromString)
        return stub(iter(requests), metadata=self.metadata())

    def next(self, answers: Iterator[M]) -> M:
        """The next answer of a conversation.

        Raises:
            ContainerdError: the daemon ended it with an error.
            Unavailable: it ended without one.
        """
        with _translated(self.address):
            answer = next(answers, None)
        if answer is None:
            raise Unavailable("the daemon ended the conversation")
        return answer

    def close(self) -> None:
        """End the connection."""
        self._channel.close()


def _path(method: str) -> str:
    return f"/containerd.services.{method}" if not method.startswith("grpc.") else f"/{method}"


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()


@contextlib.contextmanager
def _translated(address: str) -> Iterator[None]:
    try:
        yield
    except grpc.RpcError as error:
        raise _translate(error, address) from None


def _translate(error: Any, address: str) -> ContainerdError:
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.UNAVAILABLE and "connect" in details.lower():
        return Unavailable(f'failed to dial "{address}": is the daemon running, and may you use its socket?')
    return from_code(code.value[0], details)
