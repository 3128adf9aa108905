"""When the collector runs: a little after the start, after removals, and when a client asks and waits.

Collecting costs one write transaction over the whole database, so removals that come close together share one run:
the first asks for it, and what comes before it has begun is covered too. A client that waits gets the first run that
begins after it asked. Source: containerd@301026e plugins/gc/scheduler.go, whose thresholds are left out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from minicontainerd.api.events.image_pb2 import ImageDelete
from minicontainerd.api.events.snapshot_pb2 import SnapshotRemove
from minicontainerd.daemon import blocking
from minicontainerd.daemon.events import Exchange
from minicontainerd.store.gc import Node

log = logging.getLogger(__name__)

STARTUP_DELAY = 0.1
"""Seconds from the start to the first run."""

SETTLE = 0.5
"""Seconds from a removal to the run it asks for."""


class Collector:
    """Runs *collect* in a worker thread, and tells what it removed as events."""

    def __init__(self, collect: Callable[[], list[Node]], exchange: Exchange) -> None:
        self._collect = collect
        self._exchange = exchange
        self._asked = asyncio.Event()
        self._begun = 0
        self._finished = asyncio.Condition()
        self._last_finished = 0
        self._waiters = 0

    async def run(self) -> None:
        """Collect whenever it is asked for, until cancelled."""
        await asyncio.sleep(STARTUP_DELAY)
        await self._once()
        while True:
            await self._asked.wait()
            if not self._waiters:
                await asyncio.sleep(SETTLE)
            await self._once()

    async def after_removal(self, *, wait: bool = False) -> None:
        """Something may have become garbage; with *wait*, answer only when it is gone."""
        self._asked.set()
        if not wait:
            return
        wanted = self._begun + 1
        self._waiters += 1
        try:
            async with self._finished:
                await self._finished.wait_for(lambda: self._last_finished >= wanted)
        finally:
            self._waiters -= 1

    async def _once(self) -> None:
        self._asked.clear()
        self._begun += 1
        number = self._begun
        try:
            self._tell(await blocking.call(self._collect))
        except Exception:
            log.exception("garbage collection failed")
        async with self._finished:
            self._last_finished = number
            self._finished.notify_all()

    def _tell(self, removed: list[Node]) -> None:
        for node in removed:
            kind, _, snapshotter = node.kind.partition("/")
            if kind == "images":
                self._exchange.publish(node.namespace, "/images/delete", ImageDelete(name=node.name))
            elif kind == "snapshots":
                event = SnapshotRemove(key=node.name, snapshotter=snapshotter)
                self._exchange.publish(node.namespace, "/snapshot/remove", event)
