"""What a test may need of the host it runs on, and whether this host has it.

``@pytest.mark.needs("root", "cgroup-v2")`` declares; nothing else decides. A test whose needs are not met here runs
in a guest, which has most of them, or is skipped with the reason. A need that is in no table stops the collection.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids")


def reason_against(need: str) -> str:
    """Why this host does not have *need*; empty if it does.

    Raises:
        KeyError: nobody knows what *need* is.

    >>> reason_against("program:sh")
    ''
    >>> reason_against("program:no-such-thing")
    'no-such-thing is not installed'
    """
    kind, _, name = need.partition(":")
    if name:
        return PARAMETRIC[kind](name)
    return NEEDS[need]()


def _root() -> str:
    return "" if os.geteuid() == 0 else "not root"


def _cgroup_v2() -> str:
    controllers = Path("/sys/fs/cgroup/cgroup.controllers")
    if not controllers.exists():
        return "the host's cgroups are not purely version 2"
    missing = [name for name in CONTROLLERS if name not in controllers.read_text().split()]
    return f"version 2 has no controller {', '.join(missing)} here" if missing else ""


def _apparmor() -> str:
    enabled = Path("/sys/module/apparmor/parameters/enabled")
    if not enabled.exists() or enabled.read_text().strip() != "Y":
        return "the kernel's AppArmor is not on"
    return _program("apparmor_parser")


def _guest() -> str:
    return "" if Path("/etc/minicontainerd-guest").exists() else "not a guest that may be spoiled"


def _filesystem(name: str) -> str:
    if name in Path("/proc/filesystems").read_text().split():
        return ""
    modules = Path("/lib/modules", os.uname().release).rglob(f"{name}.ko*")
    return "" if next(modules, None) else f"the kernel has no {name}"


def _program(name: str) -> str:
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    return "" if shutil.which(name, path=path) else f"{name} is not installed"


NEEDS: dict[str, Callable[[], str]] = {
    "root": _root,
    "cgroup-v2": _cgroup_v2,
    "apparmor": _apparmor,
    "guest": _guest,
    "overlayfs": lambda: _filesystem("overlay"),
    "btrfs": lambda: _filesystem("btrfs"),
    "zfs": lambda: _filesystem("zfs"),
}
PARAMETRIC: dict[str, Callable[[str], str]] = {"program": _program, "filesystem": _filesystem}
