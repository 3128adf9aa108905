"""What a test may need of the host it runs on, and whether this host has it.

``@pytest.mark.needs("root", "cgroup-v2")`` declares; nothing else decides. A test whose needs are not met here runs
in a guest, which has most of them, or is skipped with the reason. A need that is in no table stops the collection.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

VARIANTS = {"selinux": "selinux", "systemd": "systemd", "btrfs": "storage", "thin-pool": "storage", "zfs": "zfs"}
"""Which kind of guest a need asks for; every other need is met by the minimal one, or by none."""

ON_ANOTHER = ("ipvlan", "macvlan", "vlan")
"""Kinds of interfaces that are made on another one."""

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


def variant_for(needs: Iterable[str]) -> str:
    """The kind of guest in which a test with these *needs* runs.

    Raises:
        ValueError: they ask for two kinds.

    >>> variant_for(["root", "btrfs"]), variant_for(["root"])
    ('storage', 'minimal')
    """
    kinds = {VARIANTS[need] for need in needs if need in VARIANTS} or {"minimal"}
    if len(kinds) > 1:
        raise ValueError(f"no guest is at once {' and '.join(sorted(kinds))}")
    return kinds.pop()


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


def _selinux() -> str:
    """On, whether or not it has a policy yet."""
    is_on = "selinuxfs" in Path("/proc/filesystems").read_text().split()
    return _program("secilc") if is_on else "the kernel's SELinux is not on"


def _two_processors() -> str:
    return "" if (os.cpu_count() or 1) > 1 else "there is only one processor"


def _guest() -> str:
    return "" if Path("/etc/minicontainerd-guest").exists() else "not a guest that may be spoiled"


def _filesystem(name: str) -> str:
    return "" if name in Path("/proc/filesystems").read_text().split() else _module(name)


def _module(name: str) -> str:
    if Path("/sys/module", name).exists():
        return ""
    modules = Path("/lib/modules", os.uname().release)
    plain = name.replace("_", "[-_]")
    return "" if next(modules.rglob(f"{plain}.ko*"), None) else f"the kernel has no {name}"


def _interface(kind: str) -> str:
    """Whether the kernel has network interfaces of *kind*: one is made, in a network namespace that ends with it."""
    if os.geteuid() != 0:
        return f"only root can tell whether there are interfaces of the kind {kind}"
    below = "ip link add below type veth peer name beside && " if kind in ON_ANOTHER else ""
    on = "link below " if kind in ON_ANOTHER else ""
    return _in_namespace(
        f"{below}ip link add probe {on}type {kind}", f"the kernel has no interfaces of the kind {kind}"
    )


def _vlan_filtering() -> str:
    if os.geteuid() != 0:
        return "only root can tell whether bridges know VLANs"
    return _in_namespace("ip link add probe type bridge vlan_filtering 1", "the kernel's bridges know no VLANs")


@functools.cache
def _in_namespace(script: str, reason: str) -> str:
    command = ["unshare", "--net", "sh", "-c", script]
    return "" if subprocess.run(command, capture_output=True, env={"PATH": _search_path()}).returncode == 0 else reason


def _systemd() -> str:
    return "" if Path("/run/systemd/system").is_dir() else "process 1 is not systemd"


@functools.cache
def _criu() -> str:
    """Whether there is a CRIU that the kernel is not too old for, nor too new: it has to know the kernel's vDSO."""
    if missing := _program("criu"):
        return missing
    found = subprocess.run(["criu", "check"], capture_output=True, text=True, env={"PATH": _search_path()})
    why = (found.stderr.strip().splitlines() or ["it does not say why"])[-1]
    return "" if found.returncode == 0 else f"criu check fails: {why}"


def _search_path() -> str:
    """Where programs are looked for: also where those of root are, whoever asks."""
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def _program(name: str) -> str:
    return "" if shutil.which(name, path=_search_path()) else f"{name} is not installed"


NEEDS: dict[str, Callable[[], str]] = {
    "root": _root,
    "cgroup-v2": _cgroup_v2,
    "apparmor": _apparmor,
    "guest": _guest,
    "overlayfs": lambda: _filesystem("overlay"),
    "btrfs": lambda: _filesystem("btrfs") or _program("mkfs.btrfs"),
    "zfs": lambda: _filesystem("zfs") or _program("zpool"),
    "thin-pool": lambda: _module("dm_thin_pool") or _program("dmsetup"),
    "criu": _criu,
    "selinux": _selinux,
    "systemd": _systemd,
    "two-processors": _two_processors,
    "vlan-filtering": _vlan_filtering,
}
PARAMETRIC: dict[str, Callable[[str], str]] = {
    "program": _program,
    "filesystem": _filesystem,
    "interface": _interface,
}
