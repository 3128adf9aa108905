"""The client: one object a service, one method a call, messages as the API has them."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any as Anything

from google.protobuf.any_pb2 import Any
from google.protobuf.empty_pb2 import Empty
from google.protobuf.field_mask_pb2 import FieldMask

from minicontainerd.api import mounts as mount_messages
from minicontainerd.api.services.containers.v1 import containers_pb2 as containers_api
from minicontainerd.api.services.containers.v1.containers_pb2 import Container
from minicontainerd.api.services.diff.v1 import diff_pb2 as diff_api
from minicontainerd.api.services.events.v1.events_pb2 import PublishRequest, SubscribeRequest
from minicontainerd.api.services.images.v1 import images_pb2 as images_api
from minicontainerd.api.services.images.v1.images_pb2 import Image
from minicontainerd.api.services.introspection.v1 import introspection_pb2 as introspection_api
from minicontainerd.api.services.leases.v1 import leases_pb2 as leases_api
from minicontainerd.api.services.leases.v1.leases_pb2 import Lease, Resource
from minicontainerd.api.services.namespaces.v1 import namespace_pb2 as namespaces_api
from minicontainerd.api.services.namespaces.v1.namespace_pb2 import Namespace
from minicontainerd.api.services.tasks.v1 import tasks_pb2 as tasks_api
from minicontainerd.api.services.version.v1.version_pb2 import VersionResponse
from minicontainerd.api.types.descriptor_pb2 import Descriptor
from minicontainerd.api.types.event_pb2 import Envelope
from minicontainerd.api.types.metrics_pb2 import Metric
from minicontainerd.api.types.task.task_pb2 import Process, ProcessInfo
from minicontainerd.client.channel import Channel
from minicontainerd.client.content import RemoteContent
from minicontainerd.client.snapshots import RemoteSnapshots
from minicontainerd.oci.mount import Mount

LEASE_LIFETIME = datetime.timedelta(hours=24)
"""What a lease lives if its client dies; as containerd's client has it."""


class Client:
    """All of the daemon at *address*, as *namespace* sees it."""

    def __init__(self, address: str, namespace: str = "default", timeout: float | None = None) -> None:
        self.channel = Channel(address, namespace, timeout)
        self.containers = Containers(self.channel)
        self.content = RemoteContent(self.channel)
        self.diff = Diff(self.channel)
        self.events = Events(self.channel)
        self.images = Images(self.channel)
        self.introspection = Introspection(self.channel)
        self.leases = Leases(self.channel)
        self.namespaces = Namespaces(self.channel)
        self.tasks = Tasks(self.channel)

    @property
    def namespace(self) -> str:
        """The namespace of every request."""
        return self.channel.namespace

    def snapshots(self, snapshotter: str = "") -> RemoteSnapshots:
        """The snapshots of one snapshotter; without a name, of the namespace's default."""
        return RemoteSnapshots(self.channel, snapshotter or self.default("snapshotter") or "overlayfs")

    def default(self, what: str) -> str:
        """The namespace's label ``containerd.io/defaults/<what>``; empty where there is none."""
        return self.namespaces.get(self.namespace).labels.get(f"containerd.io/defaults/{what}", "")

    def version(self) -> VersionResponse:
        """Version and revision of the daemon."""
        return self.channel.call("version.v1.Version/Version", Empty(), VersionResponse)

    @contextlib.contextmanager
    def leased(self) -> Iterator[str]:
        """Work under a new lease: what is made inside the block is kept until the end of it."""
        expires = datetime.datetime.now(datetime.UTC) + LEASE_LIFETIME
        labels = {"containerd.io/gc.expire": expires.strftime("%Y-%m-%dT%H:%M:%SZ")}
        lease = self.leases.create(labels=labels)
        try:
            with self.channel.under(lease.id):
                yield lease.id
        finally:
            self.leases.delete(lease.id)

    def close(self) -> None:
        """End the connection."""
        self.channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Service:
    def __init__(self, channel: Channel) -> None:
        self._channel = channel


class Namespaces(_Service):
    """``namespaces.v1``."""

    def get(self, name: str) -> Namespace:
        """One; empty if nobody made it."""
        request = namespaces_api.GetNamespaceRequest(name=name)
        kind = namespaces_api.GetNamespaceResponse
        return self._channel.call("namespaces.v1.Namespaces/Get", request, kind).namespace

    def list(self) -> Sequence[Namespace]:
        """All of them."""
        request, kind = namespaces_api.ListNamespacesRequest(), namespaces_api.ListNamespacesResponse
        return self._channel.call("namespaces.v1.Namespaces/List", request, kind).namespaces

    def create(self, name: str, labels: Mapping[str, str]) -> None:
        """Make one."""
        request = namespaces_api.CreateNamespaceRequest(namespace=Namespace(name=name, labels=labels))
        self._channel.call("namespaces.v1.Namespaces/Create", request, namespaces_api.CreateNamespaceResponse)

    def label(self, name: str, labels: Mapping[str, str]) -> None:
        """Add, replace or (with an empty value) remove labels."""
        mask = FieldMask(paths=[f"labels.{key}" for key in labels])
        request = namespaces_api.UpdateNamespaceRequest(namespace=Namespace(name=name, labels=labels), update_mask=mask)
        self._channel.call("namespaces.v1.Namespaces/Update", request, namespaces_api.UpdateNamespaceResponse)

    def delete(self, name: str) -> None:
        """Remove one that is empty."""
        request = namespaces_api.DeleteNamespaceRequest(name=name)
        self._channel.call("namespaces.v1.Namespaces/Delete", request, Empty)


class Leases(_Service):
    """``leases.v1``."""

    def create(self, id: str = "", labels: Mapping[str, str] | None = None) -> Lease:
        """A new lease; without an id it gets one."""
        request = leases_api.CreateRequest(id=id, labels=labels or {})
        return self._channel.call("leases.v1.Leases/Create", request, leases_api.CreateResponse).lease

    def delete(self, id: str, *, sync: bool = False) -> None:
        """End one; with *sync*, garbage is collected first."""
        self._channel.call("leases.v1.Leases/Delete", leases_api.DeleteRequest(id=id, sync=sync), Empty)

    def resources(self, id: str) -> Sequence[Resource]:
        """What a lease keeps."""
        request = leases_api.ListResourcesRequest(id=id)
        return self._channel.call("leases.v1.Leases/ListResources", request, leases_api.ListResourcesResponse).resources

    def list(self, filters: Sequence[str] = ()) -> Sequence[Lease]:
        """Those that match any filter."""
        request = leases_api.ListRequest(filters=filters)
        return self._channel.call("leases.v1.Leases/List", request, leases_api.ListResponse).leases


class Images(_Service):
    """``images.v1``."""

    def get(self, name: str) -> Image:
        """One image."""
        request = images_api.GetImageRequest(name=name)
        return self._channel.call("images.v1.Images/Get", request, images_api.GetImageResponse).image

    def create(self, image: Image) -> Image:
        """Write a new name."""
        request = images_api.CreateImageRequest(image=image)
        return self._channel.call("images.v1.Images/Create", request, images_api.CreateImageResponse).image

    def update(self, image: Image, paths: Sequence[str] = ()) -> Image:
        """Change the fields that *paths* name."""
        request = images_api.UpdateImageRequest(image=image, update_mask=FieldMask(paths=paths))
        return self._channel.call("images.v1.Images/Update", request, images_api.UpdateImageResponse).image

    def delete(self, name: str, *, sync: bool = False) -> None:
        """Remove a name; with *sync*, garbage is collected before the answer."""
        self._channel.call("images.v1.Images/Delete", images_api.DeleteImageRequest(name=name, sync=sync), Empty)

    def list(self, filters: Sequence[str] = ()) -> Sequence[Image]:
        """Those that match any filter."""
        request = images_api.ListImagesRequest(filters=filters)
        return self._channel.call("images.v1.Images/List", request, images_api.ListImagesResponse).images


class Containers(_Service):
    """``containers.v1``."""

    def get(self, id: str) -> Container:
        """One record."""
        request = containers_api.GetContainerRequest(id=id)
        kind = containers_api.GetContainerResponse
        return self._channel.call("containers.v1.Containers/Get", request, kind).container

    def create(self, container: Container) -> Container:
        """Write a new record."""
        request = containers_api.CreateContainerRequest(container=container)
        kind = containers_api.CreateContainerResponse
        return self._channel.call("containers.v1.Containers/Create", request, kind).container

    def label(self, id: str, labels: Mapping[str, str]) -> Container:
        """Add, replace or (with an empty value) remove labels."""
        mask = FieldMask(paths=[f"labels.{key}" for key in labels])
        request = containers_api.UpdateContainerRequest(container=Container(id=id, labels=labels), update_mask=mask)
        kind = containers_api.UpdateContainerResponse
        return self._channel.call("containers.v1.Containers/Update", request, kind).container

    def delete(self, id: str) -> None:
        """Remove a record."""
        self._channel.call("containers.v1.Containers/Delete", containers_api.DeleteContainerRequest(id=id), Empty)

    def list(self, filters: Sequence[str] = ()) -> list[Container]:
        """Those that match any filter."""
        request = containers_api.ListContainersRequest(filters=filters)
        kind = containers_api.ListContainerMessage
        return [each.container for each in self._channel.stream("containers.v1.Containers/ListStream", request, kind)]


class Tasks(_Service):
    """``tasks.v1``. *exec_id* names an added process; empty, the container's first one."""

    def create(self, request: tasks_api.CreateTaskRequest) -> int:
        """Create the container's process, which waits; answers its pid."""
        return self._channel.call("tasks.v1.Tasks/Create", request, tasks_api.CreateTaskResponse).pid

    def start(self, id: str, exec_id: str = "") -> int:
        """Let it run; answers its pid."""
        request = tasks_api.StartRequest(container_id=id, exec_id=exec_id)
        return self._channel.call("tasks.v1.Tasks/Start", request, tasks_api.StartResponse).pid

    def delete(self, id: str) -> tasks_api.DeleteResponse:
        """Remove a task that has stopped."""
        request = tasks_api.DeleteTaskRequest(container_id=id)
        return self._channel.call("tasks.v1.Tasks/Delete", request, tasks_api.DeleteResponse)

    def delete_process(self, id: str, exec_id: str) -> tasks_api.DeleteResponse:
        """Remove an added process that has stopped."""
        request = tasks_api.DeleteProcessRequest(container_id=id, exec_id=exec_id)
        return self._channel.call("tasks.v1.Tasks/DeleteProcess", request, tasks_api.DeleteResponse)

    def get(self, id: str, exec_id: str = "") -> Process:
        """What it is doing now."""
        request = tasks_api.GetRequest(container_id=id, exec_id=exec_id)
        return self._channel.call("tasks.v1.Tasks/Get", request, tasks_api.GetResponse).process

    def kill(self, id: str, signal: int, exec_id: str = "", *, all: bool = False) -> None:
        """Send a signal to one process, or to all of the container."""
        request = tasks_api.KillRequest(container_id=id, exec_id=exec_id, signal=signal, all=all)
        self._channel.call("tasks.v1.Tasks/Kill", request, Empty)

    def exec(self, request: tasks_api.ExecProcessRequest) -> None:
        """Add a process; :meth:`start` runs it."""
        self._channel.call("tasks.v1.Tasks/Exec", request, Empty)

    def resize(self, id: str, width: int, height: int, exec_id: str = "") -> None:
        """Tell the terminal its size, in characters."""
        request = tasks_api.ResizePtyRequest(container_id=id, exec_id=exec_id, width=width, height=height)
        self._channel.call("tasks.v1.Tasks/ResizePty", request, Empty)

    def close_stdin(self, id: str, exec_id: str = "") -> None:
        """Let it read the end of its input."""
        request = tasks_api.CloseIORequest(container_id=id, exec_id=exec_id, stdin=True)
        self._channel.call("tasks.v1.Tasks/CloseIO", request, Empty)

    def pause(self, id: str) -> None:
        """Freeze the container."""
        self._channel.call("tasks.v1.Tasks/Pause", tasks_api.PauseTaskRequest(container_id=id), Empty)

    def resume(self, id: str) -> None:
        """Thaw it."""
        self._channel.call("tasks.v1.Tasks/Resume", tasks_api.ResumeTaskRequest(container_id=id), Empty)

    def pids(self, id: str) -> Sequence[ProcessInfo]:
        """Every process in the container, as the host numbers them."""
        request = tasks_api.ListPidsRequest(container_id=id)
        return self._channel.call("tasks.v1.Tasks/ListPids", request, tasks_api.ListPidsResponse).processes

    def update(self, id: str, resources: Any) -> None:
        """Change the limits; *resources* is a runtime spec's LinuxResources in an Any."""
        request = tasks_api.UpdateTaskRequest(container_id=id, resources=resources)
        self._channel.call("tasks.v1.Tasks/Update", request, Empty)

    def metrics(self, filters: Sequence[str] = ()) -> Sequence[Metric]:
        """What the tasks that match any filter use."""
        request = tasks_api.MetricsRequest(filters=filters)
        return self._channel.call("tasks.v1.Tasks/Metrics", request, tasks_api.MetricsResponse).metrics

    def wait(self, id: str, exec_id: str = "") -> tasks_api.WaitResponse:
        """Answer once it has ended."""
        request = tasks_api.WaitRequest(container_id=id, exec_id=exec_id)
        return self._channel.call("tasks.v1.Tasks/Wait", request, tasks_api.WaitResponse)

    def list(self) -> Sequence[Process]:
        """All of the namespace."""
        request = tasks_api.ListTasksRequest()
        return self._channel.call("tasks.v1.Tasks/List", request, tasks_api.ListTasksResponse).tasks


class Diff(_Service):
    """``diff.v1``."""

    def apply(self, layer: Descriptor, mounts: Sequence[Mount], *, sync: bool = False) -> Descriptor:
        """Unpack *layer* onto *mounts*; answers the descriptor of the uncompressed layer.

        With *sync*, its files are on the disk by then.
        """
        request = diff_api.ApplyRequest(diff=layer, mounts=mount_messages.to_wire(mounts), sync_fs=sync)
        return self._channel.call("diff.v1.Diff/Apply", request, diff_api.ApplyResponse).applied

    def diff(self, left: Sequence[Mount], right: Sequence[Mount], **options: Anything) -> Descriptor:
        """Write what *right* has over *left* as a layer; *options* are ``media_type``, ``ref`` and ``labels``."""
        request = diff_api.DiffRequest(
            left=mount_messages.to_wire(left), right=mount_messages.to_wire(right), **options
        )
        return self._channel.call("diff.v1.Diff/Diff", request, diff_api.DiffResponse).diff


class Events(_Service):
    """``events.v1``."""

    def subscribe(self, filters: Sequence[str] = ()) -> Iterator[Envelope]:
        """Every event from now on that matches any filter, without end."""
        return self._channel.stream("events.v1.Events/Subscribe", SubscribeRequest(filters=filters), Envelope)

    def publish(self, topic: str, event: Any) -> None:
        """Send one."""
        self._channel.call("events.v1.Events/Publish", PublishRequest(topic=topic, event=event), Empty)


class Introspection(_Service):
    """``introspection.v1``."""

    def plugins(self, filters: Sequence[str] = ()) -> Sequence[introspection_api.Plugin]:
        """The plugins that match any filter."""
        request, kind = introspection_api.PluginsRequest(filters=filters), introspection_api.PluginsResponse
        return self._channel.call("introspection.v1.Introspection/Plugins", request, kind).plugins

    def server(self) -> introspection_api.ServerResponse:
        """The daemon's identity."""
        return self._channel.call("introspection.v1.Introspection/Server", Empty(), introspection_api.ServerResponse)
