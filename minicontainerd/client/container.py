"""Making a container: a snapshot for its root filesystem, a spec, and the record that ties them together."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from minicontainerd.api import any as typeurl
from minicontainerd.api import headers
from minicontainerd.api import mounts as mount_messages
from minicontainerd.api.services.containers.v1.containers_pb2 import Container
from minicontainerd.api.services.tasks.v1.tasks_pb2 import CreateTaskRequest
from minicontainerd.api.types.runc.options.oci_pb2 import Options
from minicontainerd.client.client import Client
from minicontainerd.client.image import Image
from minicontainerd.client.streams import Streams
from minicontainerd.errors import InvalidArgument, NotFound
from minicontainerd.oci import spec as specs
from minicontainerd.oci import user as users
from minicontainerd.oci.image import ExecConfig

RUNTIME = "io.containerd.runc.v2"
RESERVED_LABELS = ("containerd.io/", "io.cri-containerd")
"""An image must not set these: the daemon acts on them. Source: containerd@301026e pkg/labels/labels.go."""


def image_labels(client: Client, image: Image, config: ExecConfig) -> dict[str, str]:
    """The labels that a container takes over from its image, reserved and overlong ones left out."""
    found = {
        key: value
        for key, value in {**(config.labels or {}), **image.record.labels}.items()
        if not key.startswith(RESERVED_LABELS)
    }
    for key in list(found):
        try:
            headers.labels({key: found[key]})
        except InvalidArgument:
            del found[key]
    return found


def set_user(spec: specs.Spec, text: str, rootfs: str, *, groups: bool = True) -> None:
    """Run as the user *text*, looked up in the files below *rootfs*, and with *groups* as a member of its groups."""
    found = users.resolve(text, _file(rootfs, "etc/passwd"), _file(rootfs, "etc/group"))
    more = found.additional if groups else ()
    spec["process"]["user"] = {
        "uid": found.uid,
        "gid": found.gid,
        "additionalGids": sorted({found.gid, *more}),
    }


def _file(rootfs: str, name: str) -> str:
    """A file of the root filesystem, found beneath it whatever links say; empty if it is not there."""
    from minicontainerd.linux.paths import open_in_root

    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY)
    try:
        with open(open_in_root(root, name, os.O_RDONLY), errors="replace") as file:
            return file.read(1 << 20)
    except OSError:
        return ""
    finally:
        os.close(root)


def record(
    id: str,
    spec: specs.Spec,
    *,
    runtime: str = RUNTIME,
    options: Options | None = None,
    labels: dict[str, str] | None = None,
    image: str = "",
    snapshotter: str = "",
) -> Container:
    """The record of a container; with a snapshotter, its snapshot is called like itself."""
    made = Container(id=id, image=image, labels=labels or {}, snapshotter=snapshotter)
    made.snapshot_key = id if snapshotter else ""
    made.runtime.name = runtime
    made.runtime.options.CopyFrom(typeurl.pack(options or Options()))
    made.spec.CopyFrom(typeurl.pack_json(typeurl.SPEC, spec))
    return made


def task_request(
    client: Client, container: Container, streams: Streams | None, *, log_uri: str = "", terminal: bool = False
) -> CreateTaskRequest:
    """What to ask for a task of *container*: its root filesystem's mounts, and where its output goes."""
    request = CreateTaskRequest(container_id=container.id, terminal=terminal)
    if container.snapshot_key:
        mounts = client.snapshots(container.snapshotter).mounts(container.snapshot_key)
        request.rootfs.extend(mount_messages.to_wire(mounts))
    if log_uri:
        request.stdout, request.stderr = log_uri, log_uri
    elif streams is not None:
        request.stdin, request.stdout, request.stderr = streams.stdin, streams.stdout, streams.stderr
    if container.runtime.HasField("options"):
        request.options.CopyFrom(container.runtime.options)
    return request


def delete(client: Client, id: str, *, keep_snapshot: bool = False) -> None:
    """Remove a container and its snapshot, in this order: what is left if this ends in between is nobody's.

    The daemon's garbage collection removes such a snapshot, and may have done so by the time it is asked for here.

    Raises:
        FailedPrecondition: it has a task.
        NotFound: it is not there.
    """
    container = client.containers.get(id)
    client.containers.delete(id)
    if container.snapshot_key and not keep_snapshot:
        with contextlib.suppress(NotFound):
            client.snapshots(container.snapshotter).remove(container.snapshot_key)


def spec_of(container: Container) -> Any:
    """The runtime spec inside a record."""
    return typeurl.unpack_json(container.spec)
