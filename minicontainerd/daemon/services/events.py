"""Events: what happened, told to whoever subscribes."""

from __future__ import annotations

from collections.abc import AsyncIterator

from google.protobuf.empty_pb2 import Empty

from minicontainerd.api import timestamp
from minicontainerd.api.rpc import Call
from minicontainerd.api.services.events.v1.events_pb2 import ForwardRequest, PublishRequest, SubscribeRequest
from minicontainerd.api.services.ttrpc.events.v1 import events_pb2 as ttrpc
from minicontainerd.api.types.event_pb2 import Envelope
from minicontainerd.daemon.events import Exchange
from minicontainerd.errors import InvalidArgument, Unknown


class EventsService:
    """``containerd.services.events.v1.Events``, and for shims ``containerd.services.events.ttrpc.v1.Events``."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def publish(self, request: PublishRequest, call: Call) -> Empty:
        """Send one, as of now, in the caller's namespace."""
        envelope = Envelope(namespace=call.namespace, topic=request.topic, event=request.event)
        envelope.timestamp.CopyFrom(timestamp.to_wire(timestamp.now()))
        self._exchange.forward(envelope)
        return Empty()

    async def forward(self, request: ForwardRequest, call: Call) -> Empty:
        """Pass on one that was made elsewhere, as it is."""
        self._exchange.forward(request.envelope)
        return Empty()

    async def subscribe(self, request: SubscribeRequest, call: Call) -> AsyncIterator[Envelope]:
        """From now on, every event that matches any filter."""
        try:
            subscription = self._exchange.subscribed(request.filters)
        except InvalidArgument as error:
            raise Unknown(str(error)) from None  # containerd answers this one, and only this one, as unknown
        with subscription as envelopes:
            async for envelope in envelopes:
                yield envelope

    async def from_shim(self, request: ttrpc.ForwardRequest, metadata: dict[str, str]) -> Empty:
        """An event that a shim sends up."""
        self._exchange.forward(request.envelope)
        return Empty()
