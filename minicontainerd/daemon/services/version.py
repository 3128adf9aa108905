"""Version: which build of the daemon answers."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

import minicontainerd
from minicontainerd.api.rpc import Call
from minicontainerd.api.services.version.v1.version_pb2 import VersionResponse

REVISION = "minicontainerd"


class VersionService:
    """``containerd.services.version.v1.Version``."""

    async def version(self, request: Empty, call: Call) -> VersionResponse:
        """Version and revision of this build."""
        return VersionResponse(version=minicontainerd.__version__, revision=REVISION)
