"""The motions of a start, gone through by a copy that waits to be needed.

What is forked shares its memory with the zygote, page by page, until it writes; and in Python to look at an object is
to count a reference, which is a write. So the first time that a copy does anything it is slow: a thousand pages are
copied, at some microseconds each. The copy that waits has time. It does what every start does, on a made-up container
and with nothing at the end: no file, no socket, no process. Then those pages are its own already.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from typing import TYPE_CHECKING

from ...api.any import pack, unpack
from ...api.events.task_pb2 import TaskCreate
from ...api.runtime.task.v3.shim_pb2 import CreateTaskRequest, CreateTaskResponse
from ...api.ttrpc.frame import Decoder, decode_request, encode_request, encode_response
from ...api.types.mount_pb2 import Mount
from ...api.types.runc.options.oci_pb2 import Options
from ...errors import ContainerdError
from ...linux.mount_options import parse_mount_options
from ...linux.mountinfo import mountinfo
from .. import cgroups, example, validate
from ..flags import parse
from ..state import Container, now
from .main import FLAGS

if TYPE_CHECKING:
    from ...oci.runtime import Spec

_SERVICE = "containerd.task.v3.Task"


def rehearse() -> None:
    """Go through the motions. What goes wrong is nobody's loss: the performance will tell."""
    with contextlib.suppress(OSError, ContainerdError):
        config: Spec = json.loads(json.dumps(example.config()))
        validate.check(config)
        parse(["-namespace", "n", "-address", "a", "-id", "i", "start"], FLAGS, {})
        _be_asked()
        _make(config)


def _be_asked() -> None:
    request = CreateTaskRequest(id="i", bundle="/b", rootfs=[Mount(type="overlay", source="overlay", options=["ro"])])
    request.options.CopyFrom(pack(Options()))
    for frame in Decoder().feed(encode_request(1, _SERVICE, "Create", request, {"containerd-namespace-ttrpc": "n"})):
        asked = CreateTaskRequest.FromString(decode_request(frame).payload)
        unpack(asked.options, Options)
        encode_response(frame.stream, CreateTaskResponse(pid=1))
        pack(TaskCreate(container_id="i", bundle="/b", rootfs=asked.rootfs, pid=1))


def _make(config: Spec) -> None:
    for mount in config["mounts"]:
        parse_mount_options(mount.get("options", []))
    mountinfo()
    folder = tempfile.mkdtemp()
    try:
        container = Container(folder, "i", "/b", "/b/rootfs", now(), config, cgroups.folder_of(config, "i"))
        os.mkdir(container.folder)
        container.save()
        container.status()
    finally:
        shutil.rmtree(folder)
