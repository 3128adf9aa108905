"""The daemon's side of a shim: calls over one unix socket, many at a time.

One task reads frames and hands each answer to the call that waits for its stream id. When the connection ends, every
call that waits fails with :class:`~minicontainerd.errors.Unavailable`, and *closed* is set: that is how the daemon
learns that a shim has died.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from typing import TypeVar

from google.protobuf.message import Message

from minicontainerd.api.ttrpc.frame import Decoder, Frame, decode_response, encode_request
from minicontainerd.errors import ContainerdError, DeadlineExceeded, Unavailable

M = TypeVar("M", bound=Message)


class Client:
    """A connection to one ttrpc server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str) -> None:
        self.address = address
        self.closed = asyncio.Event()
        self._writer = writer
        self._streams = itertools.count(1, 2)  # a client's stream ids are odd
        self._waiting: dict[int, asyncio.Future[Frame]] = {}
        self._reading = asyncio.create_task(self._read(reader), name=f"ttrpc {address}")

    @classmethod
    async def connect(cls, path: str) -> Client:
        """Connect to the unix socket at *path*.

        Raises:
            Unavailable: nobody listens there.
        """
        try:
            reader, writer = await asyncio.open_unix_connection(path)
        except OSError as error:
            raise Unavailable(f"dial unix {path}: {error.strerror}") from error
        return cls(reader, writer, path)

    async def call(
        self,
        service: str,
        method: str,
        request: Message,
        kind: type[M],
        metadata: Mapping[str, str],
        timeout: float | None = None,
    ) -> M:
        """Call ``service/method`` and answer its message of type *kind*. *timeout* is in seconds.

        Raises:
            ContainerdError: whatever the server answered.
            Unavailable: the connection ended before the answer.
            DeadlineExceeded: the time was over first.
        """
        if self.closed.is_set():
            raise Unavailable("ttrpc: closed")
        stream = next(self._streams)
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._waiting[stream] = answer
        try:
            limit = int((timeout or 0) * 1e9)
            self._writer.write(encode_request(stream, service, method, request, metadata, limit))
            frame = await asyncio.wait_for(answer, timeout)
        except TimeoutError:
            raise DeadlineExceeded(f"{method}: no answer within {timeout} s") from None
        finally:
            self._waiting.pop(stream, None)
        return kind.FromString(decode_response(frame))

    async def close(self) -> None:
        """End the connection."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        decoder = Decoder()
        try:
            while data := await reader.read(1 << 16):
                for frame in decoder.feed(data):
                    answer = self._waiting.get(frame.stream)
                    if answer is not None and not answer.done():
                        answer.set_result(frame)
        except (OSError, ContainerdError):
            pass  # a broken connection and a broken frame end alike: the calls that wait are told below
        finally:
            self.closed.set()
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(Unavailable("ttrpc: closed"))
            self._writer.close()
