"""gRPC on HTTP/2, the server's side: a call is a stream whose data are messages.

::

    client   HEADERS  :path /package.Service/Method, metadata, maybe grpc-timeout
             DATA     0, length in 4 bytes, message;  0, length, message …              END_STREAM
    server   HEADERS  :status 200, content-type application/grpc
             DATA     0, length, message …
             HEADERS  grpc-status, grpc-message                                          END_STREAM

Everything happens in the event loop's one thread: a frame comes in, its handler runs as a task, its answer goes out,
all in one writing where there is room. The byte before each length says whether the message is compressed; we never
asked for that, so it is not.

Source: grpc/doc/PROTOCOL-HTTP2.md, statuscodes.md.
"""

from __future__ import annotations

import asyncio
import logging
import os
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from minicontainerd.api.http2.connection import Connection, Headers, Stream, encode_headers
from minicontainerd.api.http2.frame import END_HEADERS, END_STREAM, Type
from minicontainerd.errors import (
    ContainerdError,
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    ResourceExhausted,
    Unavailable,
    Unimplemented,
    Unknown,
)

log = logging.getLogger(__name__)

MAX_MESSAGE = 16 << 20
"""Bytes; containerd's defaults/defaults.go. gRPC's own default for receiving is 4 MiB."""

QUEUED = 4
"""How many messages of a stream wait for their handler before the client has to."""

_PRINTABLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_OPENING = encode_headers([(":status", "200"), ("content-type", "application/grpc")])
_OK = encode_headers([("grpc-status", "0")])
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


class Method(NamedTuple):
    """How a method is answered.

    *function* gets the request, or where the *client_streams* an async iterator of them, and the metadata. It is a
    coroutine that returns the response, or where the *server_streams* an async generator of them. A call that is
    *interruptible* ends with its client; any other is carried to its end.
    """

    name: str
    function: Callable[[Any, Mapping[str, str]], Any]
    parse: Callable[[bytes], Any]
    client_streams: bool = False
    server_streams: bool = False
    interruptible: bool = False

    @property
    def ends_with_client(self) -> bool:
        """Whether there is nothing to be done for a client that has gone."""
        return self.interruptible or self.server_streams or self.client_streams


class Limits(NamedTuple):
    """The longest message, in bytes, that is taken and that is sent."""

    received: int = MAX_MESSAGE
    sent: int = MAX_MESSAGE


class Server:
    """Serves *methods*, by their paths ``/package.Service/Method``, on one unix socket."""

    def __init__(self, methods: Mapping[str, Method], limits: Limits) -> None:
        self._methods = methods
        self._limits = limits
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._calls: set[Call] = set()

    async def start(self, path: str, uid: int = -1, gid: int = -1) -> None:
        """Listen at *path*, where there must be nothing, for the owner *uid* and the group *gid* alone."""
        old = os.umask(0o117)  # no moment in which others could connect
        try:
            self._server = await asyncio.get_running_loop().create_unix_server(self._connect, path, backlog=1024)
        finally:
            os.umask(old)
        os.chown(path, uid, gid)

    async def stop(self, grace: float) -> None:
        """Take no more calls, give the others *grace* seconds, and end them."""
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.go_away()
        give_up = asyncio.get_running_loop().time() + grace
        while self._calls and asyncio.get_running_loop().time() < give_up:
            await asyncio.sleep(0.01)
        for call in list(self._calls):
            call.fail(Unavailable("the daemon is stopping"))
            call.broken()
        for connection in self._connections:
            connection.close()

    def _connect(self) -> Connection:
        connection = _Tracked(self._open, self._connections)
        self._connections.add(connection)
        return connection

    def _open(self, stream: Stream, headers: Headers) -> Call:
        fields = dict(headers)
        call = Call(stream, self._methods.get(fields.get(":path", "")), fields, self._limits, self._calls)
        self._calls.add(call)
        return call


class _Tracked(Connection):
    """A connection that is known to its server for as long as it lasts."""

    def __init__(self, open_stream: Callable[[Stream, Headers], Call], known: set[Connection]) -> None:
        super().__init__(open_stream)
        self._known = known

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._known.discard(self)


class Call:
    """One call: collects its messages, runs its method, sends what that answers."""

    def __init__(
        self, stream: Stream, method: Method | None, fields: Mapping[str, str], limits: Limits, known: set[Call]
    ) -> None:
        self._stream = stream
        self._method = method
        self._metadata = {name: value for name, value in fields.items() if not name.startswith(":")}
        self._limits = limits
        self._known = known
        self._buffer = bytearray()
        self._messages: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._task: asyncio.Task[Any] | None = None
        self._opened = False
        self._finished = False
        self._deadline: asyncio.TimerHandle | None = None
        self._path = fields.get(":path", "")

    # What the connection tells.

    def begun(self) -> None:
        """The stream is open."""
        if not self._metadata.get("content-type", "").startswith("application/grpc"):
            self._stream.send_headers(encode_headers([(":status", "415")]), end=True)
            self._finish()
        elif self._method is None:
            self.fail(Unimplemented(f"unknown method {self._path}"))
        elif timeout := self._metadata.get("grpc-timeout"):
            self._set_deadline(timeout)
        if self._method is not None and self._method.client_streams and not self._finished:
            self._start(self._incoming())

    def _set_deadline(self, timeout: str) -> None:
        unit = _UNITS.get(timeout[-1])
        if unit is None or not timeout[:-1].isdigit():
            return self.fail(InvalidArgument(f"grpc-timeout {timeout!r} is no time"))
        error = DeadlineExceeded("context deadline exceeded")
        self._deadline = asyncio.get_running_loop().call_later(int(timeout[:-1]) * unit, self._give_up, error)
        return None

    def received(self, data: bytes) -> None:
        """More bytes of messages."""
        if self._finished:
            return
        self._buffer += data
        while len(self._buffer) >= 5 and not self._finished:
            compressed, length = struct.unpack_from(">BI", self._buffer)
            if compressed:
                self.fail(Unimplemented("compressed messages are not understood here"))
            elif length > self._limits.received:
                words = f"grpc: received message larger than max ({length} vs. {self._limits.received})"
                self.fail(ResourceExhausted(words))
            elif len(self._buffer) < 5 + length:
                return
            else:
                self._messages.put_nowait(bytes(self._buffer[5 : 5 + length]))
                del self._buffer[: 5 + length]
        self._stream.is_full = self._messages.qsize() >= QUEUED

    def ended(self) -> None:
        """The client has said everything."""
        if self._method is None or self._finished:
            return
        if self._method.client_streams:
            self._messages.put_nowait(None)
        elif self._messages.qsize() != 1 or self._buffer:
            self.fail(InvalidArgument(f"{self._messages.qsize()} messages where one was expected"))
        else:
            self._start_with(self._messages.get_nowait() or b"")

    def broken(self) -> None:
        """The client has gone, or no longer wants to know."""
        self._finish()
        if self._task is not None and self._method is not None and self._method.ends_with_client:
            self._task.cancel()

    # What the method is given, and what becomes of its answer.

    async def _incoming(self) -> AsyncIterator[Any]:
        assert self._method is not None
        while (message := await self._messages.get()) is not None:
            if self._stream.is_full and self._messages.qsize() < QUEUED:
                self._stream.make_room()
            yield self._parse(message)

    def _parse(self, message: bytes) -> Any:
        assert self._method is not None
        try:
            return self._method.parse(message)
        except Exception as error:
            raise Internal(f"grpc: error unmarshalling request: {error}") from None

    def _start_with(self, message: bytes) -> None:
        try:
            self._start(self._parse(message))
        except ContainerdError as error:
            self.fail(error)

    def _start(self, request: Any) -> None:
        assert self._method is not None
        answer = self._method.function(request, self._metadata)
        work = self._stream_out(answer) if self._method.server_streams else answer
        self._task = asyncio.ensure_future(work)
        self._task.add_done_callback(self._done)

    async def _stream_out(self, responses: AsyncIterator[Any]) -> None:
        async for response in responses:
            if not self._opened:
                self._opened = True
                self._stream.send_headers(_OPENING)
            await self._stream.send_data(self._framed(response.SerializeToString()))

    def _framed(self, message: bytes) -> bytes:
        if len(message) > self._limits.sent:
            words = f"grpc: trying to send message larger than max ({len(message)} vs. {self._limits.sent})"
            raise ResourceExhausted(words)
        return struct.pack(">BI", 0, len(message)) + message

    def _done(self, task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()
        if self._finished:
            if error is not None and not isinstance(error, ConnectionResetError):
                log.info("a request whose client had gone failed: %s", error)
        elif error is not None:
            self.fail(error)
        elif task.cancelled():
            self.fail(Unavailable("the call was cancelled"))
        elif self._method is not None and self._method.server_streams:
            self._succeed()
        else:
            self._answer(task.result().SerializeToString())

    def _answer(self, message: bytes) -> None:
        try:
            data = self._framed(message)
        except ResourceExhausted as error:
            return self.fail(error)
        opening = Type.HEADERS, END_HEADERS, _OPENING
        trailers = Type.HEADERS, END_HEADERS | END_STREAM, _OK
        if self._stream.send(opening, (Type.DATA, 0, data), trailers):
            self._stream.close()
            self._finish()
        else:
            self._task = asyncio.ensure_future(self._answer_slowly(data))
        return None

    async def _answer_slowly(self, data: bytes) -> None:
        self._opened = True
        self._stream.send_headers(_OPENING)
        try:
            await self._stream.send_data(data)
        except ConnectionResetError:
            return
        self._succeed()

    def _succeed(self) -> None:
        opening = [] if self._opened else [(Type.HEADERS, END_HEADERS, _OPENING)]
        self._stream.send(*opening, (Type.HEADERS, END_HEADERS | END_STREAM, _OK))
        self._stream.close()
        self._finish()

    def _give_up(self, error: ContainerdError) -> None:
        self.fail(error)
        self.broken()

    def fail(self, error: BaseException) -> None:
        """Answer *error* as a status; only what no caller could have caused goes to the log."""
        if self._finished:
            return
        problem = translate(error)
        if isinstance(problem, Internal):
            log.error("%s failed", self._method.name if self._method else "a call", exc_info=error)
        fields = [("grpc-status", str(problem.code)), ("grpc-message", quote(str(problem), safe=_PRINTABLE))]
        if not self._opened:
            fields = [(":status", "200"), ("content-type", "application/grpc"), *fields]
        self._stream.send_headers(encode_headers(fields), end=True)
        self._finish()

    def _finish(self) -> None:
        self._finished = True
        self._known.discard(self)
        if self._deadline is not None:
            self._deadline.cancel()


def translate(error: BaseException) -> ContainerdError:
    """*error* as one of ours: a failed system call keeps its path and reason, anything else is a fault of this code."""
    if isinstance(error, ContainerdError):
        return error
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return Unknown(f"{where}{(error.strerror or str(error)).lower()}")
    return Internal(f"{type(error).__name__}: {error}")
