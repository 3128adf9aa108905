"""Events: what happened, told to whoever listens.

The exchange is the daemon's town square. Services publish as soon as something is done; shims send what they saw
over ttrpc, and it is forwarded as it is; ``Events.Subscribe`` listens, with filters. An event is never stored: who was
not listening missed it. A listener too slow for :data:`BACKLOG` events is cut off, rather than slowing the rest.

Filters see ``namespace``, ``topic`` and ``event.<field>``, the last one read from the message inside.
Source: containerd@301026e core/events/exchange/exchange.go.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

from google.protobuf.message import Message

from minicontainerd.api import any as typeurl
from minicontainerd.api import headers, timestamp
from minicontainerd.api.filters import Filters, parse
from minicontainerd.api.types.event_pb2 import Envelope
from minicontainerd.errors import InvalidArgument, ResourceExhausted

BACKLOG = 10_000


class Exchange:
    """Publishers on one side, subscribers on the other; all on the event loop's thread."""

    def __init__(self) -> None:
        self._subscribers: dict[asyncio.Queue[Envelope | None], Filters] = {}

    def publish(self, namespace: str, topic: str, event: Message) -> None:
        """Send *event* now, from *namespace*.

        Raises:
            InvalidArgument: *topic* is none.
        """
        self.forward(
            Envelope(
                timestamp=timestamp.to_wire(timestamp.now()),
                namespace=namespace,
                topic=topic,
                event=typeurl.pack(event),
            )
        )

    def forward(self, envelope: Envelope) -> None:
        """Send an event that was made elsewhere.

        Raises:
            InvalidArgument: namespace, topic or time cannot be right.
        """
        _validate(envelope)
        for queue, filters in list(self._subscribers.items()):
            if not filters.match(_Fields(envelope)):
                continue
            try:
                queue.put_nowait(envelope)
            except asyncio.QueueFull:
                del self._subscribers[queue]
                queue.get_nowait()
                queue.put_nowait(None)

    @contextlib.contextmanager
    def subscribed(self, filters: Iterable[str] = ()) -> Iterator[AsyncIterator[Envelope]]:
        """Listen inside the block; nothing that is published from its first line on is missed.

        Raises:
            InvalidArgument: a filter does not parse.
        """
        queue: asyncio.Queue[Envelope | None] = asyncio.Queue(BACKLOG)
        self._subscribers[queue] = parse(filters)
        try:
            yield _drain(queue)
        finally:
            self._subscribers.pop(queue, None)


async def _drain(queue: asyncio.Queue[Envelope | None]) -> AsyncIterator[Envelope]:
    while True:
        envelope = await queue.get()
        if envelope is None:
            raise ResourceExhausted(f"the subscriber is more than {BACKLOG} events behind")
        yield envelope


class _Fields:
    """The fields of an event, as a filter asks for them; the message inside is only parsed if it does."""

    def __init__(self, envelope: Envelope) -> None:
        self._envelope = envelope

    def __call__(self, path: Sequence[str]) -> str | None:
        if path[0] == "namespace":
            return self._envelope.namespace or None
        if path[0] == "topic":
            return self._envelope.topic or None
        if path[0] != "event" or len(path) < 2:
            return None
        event = typeurl.unpack_known(self._envelope.event)
        value = getattr(event, path[1], None)
        if isinstance(value, Message) and len(path) > 2:
            value = getattr(value, path[2], None)
        return str(value) if isinstance(value, str | int) and value else None


def _validate(envelope: Envelope) -> None:
    try:
        headers.identifier(envelope.namespace)
    except InvalidArgument as error:
        raise InvalidArgument(f"event envelope has invalid namespace: {error}") from None
    topic = envelope.topic
    if not topic:
        raise InvalidArgument("envelope topic must not be empty")
    if not topic.startswith("/"):
        raise InvalidArgument('topic must start with "/"')
    if len(topic) == 1:
        raise InvalidArgument("topic must have at least one component")
    for component in topic[1:].split("/"):
        try:
            headers.identifier(component)
        except InvalidArgument as error:
            raise InvalidArgument(f'component "{component}" of topic "{topic}": {error}') from None
    if not envelope.HasField("timestamp"):
        raise InvalidArgument("timestamp must be set on forwarded event")
