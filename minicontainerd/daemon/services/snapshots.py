"""Snapshots: one service in front of every snapshotter, chosen by the name in the request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from minicontainerd.api import mounts as mount_messages
from minicontainerd.api import timestamp
from minicontainerd.api.events import snapshot_pb2 as events
from minicontainerd.api.rpc import Call
from minicontainerd.api.services.snapshots.v1 import snapshots_pb2 as api
from minicontainerd.daemon import blocking
from minicontainerd.daemon.collector import Collector
from minicontainerd.daemon.events import Exchange
from minicontainerd.errors import InvalidArgument
from minicontainerd.snapshot.namespaced import NamespacedSnapshotter, NamespaceSnapshots
from minicontainerd.snapshot.snapshotter import Info

LIST_BATCH = 100


class SnapshotsService:
    """``containerd.services.snapshots.v1.Snapshots``."""

    def __init__(
        self, snapshotters: Mapping[str, NamespacedSnapshotter], exchange: Exchange, collector: Collector
    ) -> None:
        self._snapshotters = snapshotters
        self._exchange = exchange
        self._collector = collector

    def _of(self, name: str, call: Call) -> NamespaceSnapshots:
        return self._snapshotter(name).within(call.namespace, call.lease)

    def _snapshotter(self, name: str) -> NamespacedSnapshotter:
        if not name:
            raise InvalidArgument("snapshotter argument missing")
        found = self._snapshotters.get(name)
        if found is None:
            raise InvalidArgument(f"snapshotter not loaded: {name}")
        return found

    def _publish(self, call: Call, verb: str, event: Message) -> None:
        self._exchange.publish(call.namespace, f"/snapshot/{verb}", event)

    async def prepare(self, request: api.PrepareSnapshotRequest, call: Call) -> api.PrepareSnapshotResponse:
        """A writable snapshot on top of a committed one; answers its mounts."""
        snapshots = self._of(request.snapshotter, call)
        mounts = await blocking.call(snapshots.prepare, request.key, request.parent, request.labels)
        event = events.SnapshotPrepare(key=request.key, parent=request.parent, snapshotter=request.snapshotter)
        self._publish(call, "prepare", event)
        return api.PrepareSnapshotResponse(mounts=mount_messages.to_wire(mounts))

    async def view(self, request: api.ViewSnapshotRequest, call: Call) -> api.ViewSnapshotResponse:
        """The same, read-only."""
        snapshots = self._of(request.snapshotter, call)
        mounts = await blocking.call(snapshots.view, request.key, request.parent, request.labels)
        event = events.SnapshotPrepare(key=request.key, parent=request.parent, snapshotter=request.snapshotter)
        self._publish(call, "prepare", event)
        return api.ViewSnapshotResponse(mounts=mount_messages.to_wire(mounts))

    async def mounts(self, request: api.MountsRequest, call: Call) -> api.MountsResponse:
        """The mounts of an active snapshot again."""
        mounts = self._of(request.snapshotter, call).mounts(request.key)
        return api.MountsResponse(mounts=mount_messages.to_wire(mounts))

    async def commit(self, request: api.CommitSnapshotRequest, call: Call) -> Empty:
        """Turn an active snapshot into a committed one, under a name."""
        await blocking.call(self._of(request.snapshotter, call).commit, request.name, request.key, request.labels)
        event = events.SnapshotCommit(key=request.key, name=request.name, snapshotter=request.snapshotter)
        self._publish(call, "commit", event)
        return Empty()

    async def remove(self, request: api.RemoveSnapshotRequest, call: Call) -> Empty:
        """Remove a snapshot that has no children."""
        await blocking.call(self._of(request.snapshotter, call).remove, request.key)
        self._publish(call, "remove", events.SnapshotRemove(key=request.key, snapshotter=request.snapshotter))
        await self._collector.after_removal()
        return Empty()

    async def stat(self, request: api.StatSnapshotRequest, call: Call) -> api.StatSnapshotResponse:
        """What is known of one."""
        info = self._of(request.snapshotter, call).stat(request.key)
        return api.StatSnapshotResponse(info=_info_to_wire(info))

    async def update(self, request: api.UpdateSnapshotRequest, call: Call) -> api.UpdateSnapshotResponse:
        """Change labels."""
        snapshots, asked = self._of(request.snapshotter, call), request.info
        info = await blocking.call(snapshots.update, asked.name, asked.labels, list(request.update_mask.paths))
        return api.UpdateSnapshotResponse(info=_info_to_wire(info))

    async def list(self, request: api.ListSnapshotsRequest, call: Call) -> AsyncIterator[api.ListSnapshotsResponse]:
        """The snapshots that match any filter, in batches."""
        snapshots = self._of(request.snapshotter, call)
        found = await blocking.call(lambda: [_info_to_wire(info) for info in snapshots.walk(list(request.filters))])
        for start in range(0, len(found), LIST_BATCH):
            yield api.ListSnapshotsResponse(info=found[start : start + LIST_BATCH])

    async def usage(self, request: api.UsageRequest, call: Call) -> api.UsageResponse:
        """How much disk it takes, its parents not counted."""
        usage = await blocking.call(self._of(request.snapshotter, call).usage, request.key)
        return api.UsageResponse(size=usage.size, inodes=usage.inodes)

    async def cleanup(self, request: api.CleanupRequest, call: Call) -> Empty:
        """Free what removed snapshots left behind."""
        await blocking.call(self._snapshotter(request.snapshotter).sweep)
        return Empty()


def _info_to_wire(info: Info) -> api.Info:
    return api.Info(
        name=info.name,
        parent=info.parent,
        kind=api.Kind.Name(int(info.kind)),
        created_at=timestamp.from_datetime(info.created),
        updated_at=timestamp.from_datetime(info.updated),
        labels=info.labels,
    )
