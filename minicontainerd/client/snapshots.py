"""A snapshotter over the wire: the same methods as ``snapshot/namespaced.py`` has in the daemon."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from google.protobuf.empty_pb2 import Empty
from google.protobuf.field_mask_pb2 import FieldMask

from minicontainerd.api import mounts as mount_messages
from minicontainerd.api.services.snapshots.v1 import snapshots_pb2 as api
from minicontainerd.api.services.snapshots.v1.snapshots_pb2 import Info
from minicontainerd.client.channel import Channel
from minicontainerd.oci.mount import Mount

SERVICE = "snapshots.v1.Snapshots"


class RemoteSnapshots:
    """The snapshots of the channel's namespace in one snapshotter. Messages are the API's own."""

    def __init__(self, channel: Channel, snapshotter: str) -> None:
        self._channel = channel
        self.snapshotter = snapshotter

    def stat(self, key: str) -> Info:
        """What is known of one."""
        request = api.StatSnapshotRequest(snapshotter=self.snapshotter, key=key)
        return self._channel.call(f"{SERVICE}/Stat", request, api.StatSnapshotResponse).info

    def label(self, key: str, labels: Mapping[str, str]) -> Info:
        """Add, replace or (with an empty value) remove labels."""
        request = api.UpdateSnapshotRequest(
            snapshotter=self.snapshotter,
            info=Info(name=key, labels=labels),
            update_mask=FieldMask(paths=[f"labels.{name}" for name in labels]),
        )
        return self._channel.call(f"{SERVICE}/Update", request, api.UpdateSnapshotResponse).info

    def usage(self, key: str) -> api.UsageResponse:
        """Bytes on disk and inodes, without the parents'."""
        request = api.UsageRequest(snapshotter=self.snapshotter, key=key)
        return self._channel.call(f"{SERVICE}/Usage", request, api.UsageResponse)

    def mounts(self, key: str) -> tuple[Mount, ...]:
        """The mounts of an active snapshot or a view."""
        request = api.MountsRequest(snapshotter=self.snapshotter, key=key)
        return mount_messages.from_wire(self._channel.call(f"{SERVICE}/Mounts", request, api.MountsResponse).mounts)

    def prepare(self, key: str, parent: str = "", labels: Mapping[str, str] | None = None) -> tuple[Mount, ...]:
        """A writable snapshot on top of a committed one; answers its mounts."""
        request = api.PrepareSnapshotRequest(snapshotter=self.snapshotter, key=key, parent=parent, labels=labels or {})
        answer = self._channel.call(f"{SERVICE}/Prepare", request, api.PrepareSnapshotResponse)
        return mount_messages.from_wire(answer.mounts)

    def view(self, key: str, parent: str = "", labels: Mapping[str, str] | None = None) -> tuple[Mount, ...]:
        """The same, read-only."""
        request = api.ViewSnapshotRequest(snapshotter=self.snapshotter, key=key, parent=parent, labels=labels or {})
        return mount_messages.from_wire(self._channel.call(f"{SERVICE}/View", request, api.ViewSnapshotResponse).mounts)

    def commit(self, name: str, key: str, labels: Mapping[str, str] | None = None) -> None:
        """Turn an active snapshot into a committed one, under a name."""
        request = api.CommitSnapshotRequest(snapshotter=self.snapshotter, name=name, key=key, labels=labels or {})
        self._channel.call(f"{SERVICE}/Commit", request, Empty)

    def remove(self, key: str) -> None:
        """Remove one that has no children."""
        self._channel.call(f"{SERVICE}/Remove", api.RemoveSnapshotRequest(snapshotter=self.snapshotter, key=key), Empty)

    def walk(self, filters: Sequence[str] = ()) -> Iterator[Info]:
        """Those that match any filter."""
        request = api.ListSnapshotsRequest(snapshotter=self.snapshotter, filters=filters)
        for answer in self._channel.stream(f"{SERVICE}/List", request, api.ListSnapshotsResponse):
            yield from answer.info
