"""Events to the daemon: in order, one at a time, and again if the daemon was away.

The daemon listens at the socket that $TTRPC_ADDRESS names, for ``Events.Forward``. It handles calls of one
connection at the same time, so the next event is sent only when the last has been answered. While the daemon is
away, events wait; each is tried five times, a second apart, and then dropped, so that a daemon that never comes
back does not keep us full.

Source: containerd@301026e core/events; the numbers are of pkg/shim's publisher.
"""

from __future__ import annotations

import socket
import time
from collections import deque

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from ...api.any import pack
from ...api.services.ttrpc.events.v1.events_pb2 import ForwardRequest
from ...api.ttrpc.frame import Decoder, encode_request
from ...api.types.event_pb2 import Envelope
from ...errors import ContainerdError
from .loop import Loop
from .server import Wire

_SERVICE = "containerd.services.events.ttrpc.v1.Events"
_TRIES, _PAUSE_SECONDS = 5, 1.0


class Publisher:
    """Publishes for one namespace to the daemon at *address*; with none, events go nowhere."""

    def __init__(self, loop: Loop, address: str, namespace: str) -> None:
        self._loop = loop
        self._path = address.removeprefix("unix://")
        self._namespace = namespace
        self._queue: deque[ForwardRequest] = deque()
        self._wire: Wire | None = None
        self._decoder = Decoder()
        self._waiting = False  # for the answer to the first of the queue
        self._stream = 1
        self._tries = 0

    @property
    def idle(self) -> bool:
        """Whether nothing is left to be told."""
        return not self._queue

    def publish(self, topic: str, event: Message) -> None:
        """Tell *event* under *topic*, at the latest when the daemon is there again."""
        if not self._path:
            return
        moment = Timestamp()
        moment.FromNanoseconds(time.time_ns())
        envelope = Envelope(timestamp=moment, namespace=self._namespace, topic=topic, event=pack(event))
        self._queue.append(ForwardRequest(envelope=envelope))
        self._next()

    def _next(self) -> None:
        if self._waiting or not self._queue:
            return
        self._waiting = True
        if self._wire is None or not self._wire.open:
            try:
                self._connect()
            except OSError:
                self._failed()
                return
        assert self._wire is not None, "connected just now"
        metadata = {"containerd-namespace-ttrpc": self._namespace}
        self._wire.send(encode_request(self._stream, _SERVICE, "Forward", self._queue[0], metadata))
        self._stream += 2

    def _connect(self) -> None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(self._path)
        except OSError:
            connection.close()
            raise
        self._decoder = Decoder()
        self._wire = Wire(self._loop, connection, self._received)

    def _received(self, data: bytes) -> None:
        if not data:
            if self._waiting:
                self._failed()
            return
        try:
            for _ in self._decoder.feed(data):
                # An error as an answer is an answer: the daemon has seen the event and does not want it.
                self._done()
        except ContainerdError:
            assert self._wire is not None, "the data came from it"
            self._wire.close()
            self._failed()

    def _done(self) -> None:
        self._waiting, self._tries = False, 0
        if self._queue:
            self._queue.popleft()
        self._next()

    def _failed(self) -> None:
        self._tries += 1
        if self._tries >= _TRIES:
            self._tries = 0
            self._queue.popleft()

        def again() -> None:
            self._waiting = False
            self._next()

        self._loop.later(_PAUSE_SECONDS, again)
