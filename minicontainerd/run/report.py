"""What the commands print: ``state``, ``list``, ``ps``, ``features``, in runc's shapes.

Source: runc@76d9cf5 list.go, ps.go, state.go, features.go; runtime-spec 1.3 features.md.
"""

from __future__ import annotations

import json
import os
from typing import Any

from ..linux import capabilities, memory_policy, namespaces, seccomp
from ..linux.mount_options import WORDS
from . import hooks
from .state import VERSION, Container


def state(container: Container) -> dict[str, Any]:
    """The container's state: the runtime-spec's keys, and those that runc adds to them."""
    status = container.status()
    shown: dict[str, Any] = {
        "ociVersion": container.config.get("ociVersion", VERSION),
        "id": container.id,
        "pid": 0 if status == "stopped" else container.pid,
        "status": status,
        "bundle": container.bundle,
        "rootfs": container.rootfs,
        "created": container.created,
    }
    if annotations := container.config.get("annotations"):
        shown["annotations"] = annotations
    return {**shown, "owner": ""}


def list_json(containers: list[Container]) -> str:
    """Every container on one line; ``null`` for none, as Go prints an empty list that was never made."""
    shown = [{**state(container), "owner": owner(container)} for container in containers]
    return json.dumps(shown, separators=(",", ":")) if shown else "null"


def list_table(containers: list[Container]) -> str:
    """Every container in columns as wide as their longest entry, and two or more blanks."""
    rows = [("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")]
    for container in containers:
        shown = state(container)
        values = (shown[key] for key in ("id", "pid", "status", "bundle", "created"))
        rows.append((*map(str, values), owner(container)))  # type: ignore[arg-type]
    widths = [max(12, 3 + max(len(row[column]) for row in rows)) for column in range(5)]
    lines = ("".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) + row[5] for row in rows)
    return "\n".join(lines)


def owner(container: Container) -> str:
    """The user whose container it is, by name where there is one."""
    import pwd

    uid = os.stat(container.folder).st_uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def ps_table(pids: list[int], arguments: list[str]) -> str:
    """What ps(1) says of *pids*: its header, and the lines of these processes."""
    import subprocess

    command = ["ps", *(arguments or ["-ef"])]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    column = lines[0].split().index("PID")
    wanted = {str(pid) for pid in pids}
    return "\n".join([lines[0], *(line for line in lines[1:] if line.split()[column] in wanted)])


def features() -> dict[str, Any]:
    """What this runtime can do, and nothing it cannot."""
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": VERSION,
        "hooks": list(hooks.NAMES),
        "mountOptions": sorted(WORDS),
        "linux": {
            "namespaces": sorted(namespaces.FLAGS),
            "capabilities": list(capabilities.NAMES),
            "cgroup": {"v1": False, "v2": True, "systemd": True, "systemdUser": True},
            "seccomp": {
                "enabled": True,
                "actions": seccomp.ACTIONS,
                "operators": seccomp.OPERATORS,
                "archs": seccomp.ARCHITECTURES,
                "knownFlags": seccomp.FLAGS,
                "supportedFlags": seccomp.FLAGS,
            },
            "memoryPolicy": {"modes": sorted(memory_policy.MODES), "flags": sorted(memory_policy.FLAGS)},
            "intelRdt": {"enabled": False},
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "netDevices": {"enabled": True},
            "mountExtensions": {"idmap": {"enabled": True}},
        },
    }
