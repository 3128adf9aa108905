"""ttrpc on the shim's loop: frames in, answers out, some of them later.

A handler gets a request and returns its answer, or raises one of our errors. A handler that cannot answer yet, such
as ``Wait``, returns a :class:`Later`; whoever holds that gives the answer when there is one.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.message import DecodeError, Message

from ...api.ttrpc.frame import Decoder, Frame, decode_request, encode_response
from ...errors import ContainerdError, InvalidArgument, Unimplemented, Unknown
from ..words import sentence
from .loop import HANGUP, READ, WRITE, Loop

Handler = Callable[[Any], "Message | Later"]


class Later:
    """An answer that is not there yet. Giving it twice is harmless: only the first counts."""

    def __init__(self) -> None:
        self._answer: Message | ContainerdError | None = None
        self._send: Callable[[Message | ContainerdError], None] | None = None

    def give(self, answer: Message | ContainerdError) -> None:
        if self._answer is None:
            self._answer = answer
            if self._send is not None:
                self._send(answer)

    def when_given(self, send: Callable[[Message | ContainerdError], None]) -> None:
        self._send = send
        if self._answer is not None:
            send(self._answer)


class Wire:
    """A connected socket with its unsent bytes; *received* is called with what arrives, with b"" at the end."""

    def __init__(self, loop: Loop, connection: socket.socket, received: Callable[[bytes], None]) -> None:
        connection.setblocking(False)
        self._loop = loop
        self._socket = connection
        self._received = received
        self._unsent = bytearray()
        self.open = True
        loop.watch(connection.fileno(), READ, self._ready)

    def send(self, data: bytes) -> None:
        """Send *data*, now or as soon as the other side reads."""
        if self.open:
            self._unsent += data
            self._flush()

    def flush_now(self, seconds: float = 1.0) -> None:
        """Send what is unsent before going on: for the last answer of a process."""
        if self.open and self._unsent:
            self._socket.settimeout(seconds)
            try:
                self._socket.sendall(self._unsent)
            except OSError:
                self.close()

    def close(self) -> None:
        if self.open:
            self.open = False
            self._loop.forget(self._socket.fileno())
            self._socket.close()

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if self.open and events & (READ | HANGUP):
            try:
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.close()
            self._received(data)

    def _flush(self) -> None:
        try:
            while self._unsent:
                sent = self._socket.send(self._unsent)
                del self._unsent[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        self._loop.watch(self._socket.fileno(), READ | WRITE if self._unsent else READ, self._ready)


class Server:
    """Serves methods on every connection to *listener*, which is at *path*."""

    def __init__(self, loop: Loop, listener: socket.socket, path: str) -> None:
        self._loop = loop
        self._listener = listener
        self._path = path
        self._methods: dict[tuple[str, str], tuple[type[Message], Handler]] = {}
        self._wires: list[Wire] = []
        self.left_alone: Callable[[], None] = lambda: None
        """Called when the last connection has ended."""
        listener.setblocking(False)
        loop.watch(listener.fileno(), READ, self._accept)

    def add(self, service: str, methods: Mapping[str, tuple[type[Message], Handler]]) -> None:
        """Serve *methods* under the full name *service*."""
        for name, method in methods.items():
            self._methods[service, name] = method

    @property
    def is_connected(self) -> bool:
        """Whether anybody holds a connection."""
        return bool(self._wires)

    def stop_listening(self) -> None:
        """Give the address up, for good. The name goes first: what is there afterwards is another's."""
        if self._listener.fileno() >= 0:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)
            self._loop.forget(self._listener.fileno())
            self._listener.close()

    def close(self) -> None:
        """Send what is still unsent, and stop listening."""
        for wire in self._wires:
            wire.flush_now()
        self.stop_listening()

    def _accept(self, events: int) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return  # it was gone again before we looked
        decoder = Decoder()

        def received(data: bytes) -> None:
            try:
                for frame in decoder.feed(data):
                    self._answer(frame, wire)
            except ContainerdError:
                wire.close()  # whoever speaks something else than ttrpc cannot be answered in it
            if not wire.open and wire in self._wires:
                self._wires.remove(wire)
                if not self._wires:
                    self.left_alone()

        wire = Wire(self._loop, connection, received)
        self._wires.append(wire)

    def _answer(self, frame: Frame, wire: Wire) -> None:
        answer: Message | ContainerdError | Later
        try:
            request = decode_request(frame)
            known = self._methods.get((request.service, request.method))
            if known is None:
                raise Unimplemented(f"{request.service}/{request.method} is not served here")
            kind, handler = known
            answer = handler(kind.FromString(request.payload))
        except ContainerdError as error:
            answer = error
        except DecodeError as error:
            answer = InvalidArgument(f"the request's payload does not parse: {error}")
        except OSError as error:
            answer = Unknown(sentence(error))
        except Exception as error:
            answer = Unknown(f"{type(error).__name__}: {error}")
        if isinstance(answer, Later):
            answer.when_given(lambda given: wire.send(encode_response(frame.stream, given)))
        else:
            wire.send(encode_response(frame.stream, answer))


def listen(path: str) -> socket.socket:
    """A listening unix socket at *path*, for root only.

    Raises:
        OSError: EADDRINUSE, there is a file of that name.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    former = os.umask(0o177)
    try:
        listener.bind(path)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(former)
    listener.listen(64)
    return listener


def answers(path: str) -> bool:
    """Whether somebody listens at the unix socket *path*."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(path) == 0
