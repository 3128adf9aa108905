"""The shim's commands that need no server: clean up after a dead one, and say what this is."""

from __future__ import annotations

import os
import sys
import time

from google.protobuf.timestamp_pb2 import Timestamp

from ...api.runtime.task.v3.shim_pb2 import DeleteResponse
from ...errors import ContainerdError
from .choice import chosen
from .cleanup import unmount_rootfs

_KILLED = 128 + 9


def delete(namespace: str, bundle: str, id: str) -> bytes:
    """Remove what is left of container *id*; a DeleteResponse, as if it had been killed."""
    bundle = os.path.join(os.path.dirname(os.path.realpath(bundle)), id)
    try:
        chosen(bundle, namespace).delete(id, force=True)
    except ContainerdError as error:
        if "does not exist" not in str(error):
            print(f"failed to remove container {id}: {error}", file=sys.stderr)
    unmount_rootfs(os.path.join(bundle, "rootfs"))
    moment = Timestamp()
    moment.FromNanoseconds(time.time_ns())
    answer = DeleteResponse(pid=_pid(bundle), exit_status=_KILLED, exited_at=moment)
    return answer.SerializeToString()


def inform(name: str, release: str) -> bytes:
    """A RuntimeInfo; the options on standard input make no difference to it."""
    from ...api.types.introspection_pb2 import RuntimeInfo

    info = RuntimeInfo(name=name)
    info.version.version = release
    return info.SerializeToString()


def _pid(bundle: str) -> int:
    try:
        with open(os.path.join(bundle, "init.pid"), encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0
