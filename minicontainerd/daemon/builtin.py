"""The list of built-in plugins: everything that the daemon is made of.

Each is one function that makes its part from the parts before it. Types and ids are containerd's where containerd has
the same part, so that ``ctr plugins ls`` reads as its users know it. The last group, ``io.containerd.grpc.v1``, is
the API: each makes the object behind one service, and the server registers them all.
"""

from __future__ import annotations

from minicontainerd.daemon.collector import Collector
from minicontainerd.daemon.events import Exchange
from minicontainerd.daemon.launcher import Launcher
from minicontainerd.daemon.plugins import Context, Plugin
from minicontainerd.daemon.services.containers import ContainersService
from minicontainerd.daemon.services.content import ContentService
from minicontainerd.daemon.services.diff import DiffService
from minicontainerd.daemon.services.events import EventsService
from minicontainerd.daemon.services.images import ImagesService
from minicontainerd.daemon.services.introspection import IntrospectionService
from minicontainerd.daemon.services.leases import LeasesService
from minicontainerd.daemon.services.namespaces import NamespacesService
from minicontainerd.daemon.services.snapshots import SnapshotsService
from minicontainerd.daemon.services.tasks import TasksService
from minicontainerd.daemon.services.version import VersionService
from minicontainerd.daemon.task_manager import TaskManager
from minicontainerd.snapshot.namespaced import NamespacedSnapshotter
from minicontainerd.snapshot.native import NativeSnapshotter
from minicontainerd.snapshot.overlayfs import OverlaySnapshotter
from minicontainerd.snapshot.snapshotter import Snapshotter
from minicontainerd.store import gc
from minicontainerd.store.blobs import Blobs
from minicontainerd.store.containers import Containers
from minicontainerd.store.content import Content
from minicontainerd.store.database import Database
from minicontainerd.store.images import Images
from minicontainerd.store.leases import Leases
from minicontainerd.store.namespaces import Namespaces

CONTENT = "io.containerd.content.v1"
METADATA = "io.containerd.metadata.v1"
SNAPSHOTTER = "io.containerd.snapshotter.v1"
EVENT = "io.containerd.event.v1"
GC = "io.containerd.gc.v1"
RUNTIME = "io.containerd.runtime.v2"
GRPC = "io.containerd.grpc.v1"


def builtin(launcher: Launcher) -> list[Plugin]:
    """Every plugin, in no particular order; *launcher* starts shims."""

    def tasks(context: Context) -> TaskManager:
        return TaskManager(context.root, context.state, launcher, _exchange(context))

    stored = (METADATA, EVENT, GC)
    return [
        Plugin(EVENT, "exchange", lambda context: Exchange()),
        Plugin(CONTENT, "content", lambda context: Blobs(context.root / "content")),
        Plugin(SNAPSHOTTER, "native", _native, platforms=True),
        Plugin(SNAPSHOTTER, "overlayfs", _overlayfs, platforms=True),
        Plugin(METADATA, "sqlite", _metadata, (CONTENT, SNAPSHOTTER)),
        Plugin(GC, "scheduler", _collector, (METADATA, EVENT)),
        Plugin(RUNTIME, "task", tasks, (EVENT,), platforms=True),
        Plugin(GRPC, "containers", _containers, stored),
        Plugin(GRPC, "content", _content, stored),
        Plugin(GRPC, "diff", _diff, (METADATA,)),
        Plugin(GRPC, "events", lambda context: EventsService(_exchange(context)), (EVENT,)),
        Plugin(GRPC, "images", _images, stored),
        Plugin(GRPC, "introspection", lambda context: IntrospectionService(context.graph, context.root), ("*",)),
        Plugin(GRPC, "leases", _leases, stored),
        Plugin(GRPC, "namespaces", _namespaces, stored),
        Plugin(GRPC, "snapshots", _snapshots, stored),
        Plugin(GRPC, "tasks", _tasks, (METADATA, RUNTIME)),
        Plugin(GRPC, "version", lambda context: VersionService()),
    ]


SERVICES = {
    "containerd.services.containers.v1.Containers": "containers",
    "containerd.services.content.v1.Content": "content",
    "containerd.services.diff.v1.Diff": "diff",
    "containerd.services.events.v1.Events": "events",
    "containerd.services.images.v1.Images": "images",
    "containerd.services.introspection.v1.Introspection": "introspection",
    "containerd.services.leases.v1.Leases": "leases",
    "containerd.services.namespaces.v1.Namespaces": "namespaces",
    "containerd.services.snapshots.v1.Snapshots": "snapshots",
    "containerd.services.tasks.v1.Tasks": "tasks",
    "containerd.services.version.v1.Version": "version",
}
"""Which plugin stands behind which service of the API."""


class Metadata:
    """The database together with what its rows are about; the middle of the graph."""

    def __init__(self, database: Database, blobs: Blobs, snapshotters: dict[str, Snapshotter]) -> None:
        self.database = database
        self.content = Content(database, blobs)
        self.snapshotters = {
            name: NamespacedSnapshotter(database, name, backend) for name, backend in snapshotters.items()
        }

    def collect(self) -> list[gc.Node]:
        """Collect garbage once; answers what was removed."""
        sweeps = [snapshotter.sweep for snapshotter in self.snapshotters.values()]
        return gc.collect(self.database, self.content.blobs, sweeps)

    def close(self) -> None:
        """Close the database."""
        self.database.close()


def _metadata(context: Context) -> Metadata:
    snapshotters: dict[str, Snapshotter] = context.all(SNAPSHOTTER)
    return Metadata(Database(context.root / "metadata.db"), context.get(CONTENT, Blobs), snapshotters)


def _native(context: Context) -> NativeSnapshotter:
    context.exports["root"] = str(context.root / "snapshots" / "native")
    return NativeSnapshotter(context.exports["root"])


def _overlayfs(context: Context) -> OverlaySnapshotter:
    context.exports["root"] = str(context.root / "snapshots" / "overlayfs")
    return OverlaySnapshotter(context.exports["root"])


def _exchange(context: Context) -> Exchange:
    return context.get(EVENT, Exchange)


def _stored(context: Context) -> tuple[Metadata, Exchange, Collector]:
    return context.get(METADATA, Metadata), _exchange(context), context.get(GC, Collector)


def _collector(context: Context) -> Collector:
    return Collector(context.get(METADATA, Metadata).collect, _exchange(context))


def _containers(context: Context) -> ContainersService:
    metadata, exchange, collector = _stored(context)
    return ContainersService(Containers(metadata.database), exchange, collector)


def _content(context: Context) -> ContentService:
    metadata, exchange, collector = _stored(context)
    return ContentService(metadata.content, exchange, collector)


def _diff(context: Context) -> DiffService:
    return DiffService(context.get(METADATA, Metadata).content)


def _images(context: Context) -> ImagesService:
    metadata, exchange, collector = _stored(context)
    return ImagesService(Images(metadata.database), exchange, collector)


def _leases(context: Context) -> LeasesService:
    metadata, _, collector = _stored(context)
    return LeasesService(Leases(metadata.database), collector)


def _namespaces(context: Context) -> NamespacesService:
    metadata, exchange, _ = _stored(context)
    return NamespacesService(Namespaces(metadata.database), exchange)


def _snapshots(context: Context) -> SnapshotsService:
    metadata, exchange, collector = _stored(context)
    return SnapshotsService(metadata.snapshotters, exchange, collector)


def _tasks(context: Context) -> TasksService:
    database = context.get(METADATA, Metadata).database
    return TasksService(Containers(database), context.get(RUNTIME, TaskManager))
