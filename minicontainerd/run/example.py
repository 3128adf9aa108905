"""``minirunc spec``: a config.json to start from, a shell in a container with the usual restrictions.

Source: the shape is the runtime-spec's own example, with the defaults that runc@76d9cf5 gives (example.go).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .state import VERSION

if TYPE_CHECKING:
    from ..oci.runtime import Mount, Spec

_CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
_MASKED = ["acpi", "asound", "kcore", "keys", "latency_stats", "timer_list", "timer_stats", "sched_debug", "scsi"]
_READ_ONLY = ["bus", "fs", "irq", "sys", "sysrq-trigger"]
_SAFE = ["nosuid", "noexec", "nodev"]


def config() -> Spec:
    """The example."""
    return {
        "ociVersion": VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": _CAPABILITIES, "effective": _CAPABILITIES, "permitted": _CAPABILITIES},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "minirunc",
        "mounts": _mounts(),
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
            "maskedPaths": [*(f"/proc/{name}" for name in _MASKED), "/sys/firmware"],
            "readonlyPaths": [f"/proc/{name}" for name in _READ_ONLY],
        },
    }


def rootless() -> Spec:
    """The same for an ordinary user, who is root inside and nobody else.

    Its network is the host's, for it could not connect another; so /sys can only be bound. There is no group for
    terminals but its own, and no cgroup whose limits it could set.
    """
    changed = config()
    linux = changed["linux"]
    linux["namespaces"] = [each for each in linux["namespaces"] if each["type"] != "network"] + [{"type": "user"}]
    linux["uidMappings"] = [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
    linux["gidMappings"] = [{"containerID": 0, "hostID": os.getegid(), "size": 1}]
    del linux["resources"]
    for each in changed["mounts"]:
        each["options"] = [option for option in each["options"] if not option.startswith(("gid=", "uid="))]
        if each["destination"] == "/sys":
            each["type"], each["source"], each["options"] = "none", "/sys", ["rbind", *_SAFE, "ro"]
    changed["mounts"] = [each for each in changed["mounts"] if each["destination"] != "/sys/fs/cgroup"]
    return changed


def _mounts() -> list[Mount]:
    rows: list[tuple[str, str, str, list[str]]] = [
        ("/proc", "proc", "proc", []),
        ("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        ("/dev/pts", "devpts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        ("/dev/shm", "tmpfs", "shm", [*_SAFE, "mode=1777", "size=65536k"]),
        ("/dev/mqueue", "mqueue", "mqueue", _SAFE),
        ("/sys", "sysfs", "sysfs", [*_SAFE, "ro"]),
        ("/sys/fs/cgroup", "cgroup", "cgroup", [*_SAFE, "relatime", "ro"]),
    ]
    keys = ("destination", "type", "source", "options")
    return [dict(zip(keys, row, strict=True)) for row in rows]  # type: ignore[misc]
