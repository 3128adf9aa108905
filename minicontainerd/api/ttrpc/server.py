"""A ttrpc server on asyncio: the socket on which the daemon hears its shims' events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.message import DecodeError, Message

from minicontainerd.api.ttrpc.frame import Decoder, Frame, decode_request, encode_response
from minicontainerd.errors import ContainerdError, InvalidArgument, Unimplemented, Unknown

Metadata = dict[str, str]
Handler = Callable[[Any, Metadata], Awaitable[Message]]
"""Called with the request's message and metadata; what it raises becomes the status."""


class Server:
    """Serves methods on every connection to one unix socket."""

    def __init__(self) -> None:
        self._methods: dict[tuple[str, str], tuple[type[Message], Handler]] = {}
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    def add(self, service: str, method: str, kind: type[Message], handler: Handler) -> None:
        """Answer ``service/method``, whose requests are of type *kind*, with *handler*."""
        self._methods[service, method] = (kind, handler)

    async def start(self, path: str) -> None:
        """Listen on the unix socket at *path*, which must not exist."""
        self._server = await asyncio.start_unix_server(self._connected, path)

    async def stop(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "asyncio runs a connection in a task"
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, ContainerdError, asyncio.CancelledError):
            pass  # the peer left, or spoke something else than ttrpc, or the server stops
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder = Decoder()
        async with asyncio.TaskGroup() as calls:
            while data := await reader.read(1 << 16):
                for frame in decoder.feed(data):
                    calls.create_task(self._answer(frame, writer))

    async def _answer(self, frame: Frame, writer: asyncio.StreamWriter) -> None:
        answer: Message | ContainerdError
        try:
            request = decode_request(frame)
            known = self._methods.get((request.service, request.method))
            if known is None:
                raise Unimplemented(f"{request.service}/{request.method} is not served here")
            kind, handler = known
            metadata = {pair.key: pair.value for pair in request.metadata}
            answer = await handler(kind.FromString(request.payload), metadata)
        except ContainerdError as error:
            answer = error
        except DecodeError as error:
            answer = InvalidArgument(f"the request's payload does not parse: {error}")
        except Exception as error:
            answer = Unknown(f"{type(error).__name__}: {error}")
        writer.write(encode_response(frame.stream, answer))
