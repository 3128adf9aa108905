"""The runtime spec that a client writes for a new container: safe defaults, then what the image and the user ask for.

A spec is a JSON object, and here it is a plain Python ``dict``: :func:`default` makes one, and each of the other
functions changes it in place in one respect, in the order in which a client applies them. The defaults are
containerd's: a short list of capabilities, no new privileges, all namespaces but user and cgroup, the dangerous
parts of /proc and /sys masked or read-only, every device refused but the nine harmless ones.

Source: containerd@301026e pkg/oci/{spec,spec_opts}.go; runtime-spec v1.3.0 config.md, config-linux.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from minicontainerd.errors import InvalidArgument
from minicontainerd.oci.image import ExecConfig

Spec = dict[str, Any]

_NAMES = """
    CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL
    AUDIT_WRITE
"""
CAPABILITIES = [f"CAP_{name}" for name in _NAMES.split()]
DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NAMESPACES = ("pid", "ipc", "uts", "mount", "network")
MASKED = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
    "/proc/scsi",
]
READONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]

# null, random, full, tty, zero, urandom, console, every pts, ptmx
_DEVICES: list[tuple[int, int | None]] = [
    *((1, 3), (1, 8), (1, 7), (5, 0), (1, 5), (1, 9), (5, 1), (136, None), (5, 2))
]


def default(namespace: str, id: str) -> Spec:
    """The spec of a container that nobody has asked anything special of.

    >>> default("ns", "c")["linux"]["cgroupsPath"]
    '/ns/c'
    """
    return {
        "ociVersion": "1.1.0",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "cwd": "/",
            "capabilities": {kind: list(CAPABILITIES) for kind in ("bounding", "effective", "permitted")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs"},
        "mounts": _mounts(),
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}, *map(_device_rule, _DEVICES)]},
            "cgroupsPath": f"/{namespace}/{id}",
            "namespaces": [{"type": name} for name in NAMESPACES],
            "maskedPaths": list(MASKED),
            "readonlyPaths": list(READONLY),
        },
    }


def _mounts() -> list[dict[str, Any]]:
    quiet = ["nosuid", "noexec", "nodev"]
    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
    small = ["nosuid", "strictatime", "mode=755", "size=65536k"]

    def mount(destination: str, kind: str, source: str, options: list[str]) -> dict[str, Any]:
        return {"destination": destination, "type": kind, "source": source, "options": options}

    return [
        mount("/proc", "proc", "proc", list(quiet)),
        mount("/dev", "tmpfs", "tmpfs", list(small)),
        mount("/dev/pts", "devpts", "devpts", pts),
        mount("/dev/shm", "tmpfs", "shm", [*quiet, "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", "mqueue", list(quiet)),
        mount("/sys", "sysfs", "sysfs", [*quiet, "ro"]),
        mount("/run", "tmpfs", "tmpfs", list(small)),
    ]


def _device_rule(numbers: tuple[int, int | None]) -> dict[str, Any]:
    rule: dict[str, Any] = {"allow": True, "type": "c", "major": numbers[0], "access": "rwm"}
    if numbers[1] is not None:
        rule["minor"] = numbers[1]
    return rule


def apply_image(spec: Spec, config: ExecConfig, arguments: Sequence[str] = ()) -> None:
    """Environment, working directory and command of the image; *arguments* take the place of its ``Cmd``.

    Raises:
        InvalidArgument: neither image nor caller says what to run.
    """
    process = spec["process"]
    set_environment(spec, config.env or [])
    if not any(each.startswith("PATH=") for each in process.get("env", [])):
        set_environment(spec, [DEFAULT_PATH])
    apply_command(spec, [*(config.entrypoint or []), *(arguments or config.cmd or [])])
    process["cwd"] = config.working_dir or "/"


def apply_command(spec: Spec, arguments: Sequence[str]) -> None:
    """Run *arguments*, where there is no image to say what to run.

    Raises:
        InvalidArgument: there are none.
    """
    if not arguments:
        raise InvalidArgument("no arguments specified")
    spec["process"]["args"] = list(arguments)


def set_environment(spec: Spec, pairs: Iterable[str]) -> None:
    """Add or replace ``NAME=value``; a bare ``NAME`` removes one.

    >>> spec = {"process": {"env": ["A=1", "B=2"]}}
    >>> set_environment(spec, ["A=3", "B", "C=4"]); spec["process"]["env"]
    ['A=3', 'C=4']
    """
    environment = {each.partition("=")[0]: each for each in spec["process"].get("env", [])}
    for pair in pairs:
        name, equals, _ = pair.partition("=")
        if equals:
            environment[name] = pair
        else:
            environment.pop(name, None)
    spec["process"]["env"] = list(environment.values())


def set_terminal(spec: Spec) -> None:
    """Give the process a terminal."""
    spec["process"]["terminal"] = True
    set_environment(spec, ["TERM=xterm"])


def add_mount(spec: Spec, text: str) -> None:
    """Add a mount written as ctr has it: ``type=bind,src=/tmp,dst=/host,options=rbind:ro``.

    Raises:
        InvalidArgument: no such field, or no destination.
    """
    mount: dict[str, Any] = {"options": []}
    names = {"type": "type", "source": "source", "src": "source", "destination": "destination", "dst": "destination"}
    for field in text.split(","):
        key, equals, value = field.partition("=")
        if not equals:
            raise InvalidArgument(f"invalid mount specification: expected key=val, got {field!r}")
        if key == "options":
            mount["options"] = value.split(":")
        elif key in names:
            mount[names[key]] = value
        else:
            raise InvalidArgument(f'mount option "{key}" not supported')
    if "destination" not in mount:
        raise InvalidArgument(f"mount {text!r} has no destination")
    spec["mounts"].append(mount)


def share_host_network(spec: Spec, hostname: str) -> None:
    """Stay in the host's network namespace, with the host's files for looking up names."""
    join_namespace(spec, "network", None)
    for path in ("/etc/hosts", "/etc/resolv.conf"):
        spec["mounts"].append({"destination": path, "type": "bind", "source": path, "options": ["rbind", "ro"]})
    set_environment(spec, [f"HOSTNAME={hostname}"])


def join_namespace(spec: Spec, kind: str, path: str | None) -> None:
    """Join the namespace at *path* instead of making one; with None, stay in the host's."""
    namespaces = [each for each in spec["linux"]["namespaces"] if each["type"] != kind]
    if path is not None:
        namespaces.append({"type": kind, "path": path})
    spec["linux"]["namespaces"] = namespaces


def change_capabilities(spec: Spec, add: Sequence[str] = (), drop: Sequence[str] = ()) -> None:
    """Add and drop capabilities in the three sets that a container's first process gets.

    Raises:
        InvalidArgument: a name does not start with ``CAP_``.
    """
    if any(not name.startswith("CAP_") for name in (*add, *drop)):
        raise InvalidArgument("capabilities must be specified with 'CAP_' prefix")
    for names in spec["process"]["capabilities"].values():
        names.extend(name for name in add if name not in names)
        names[:] = [name for name in names if name not in drop]


def make_privileged(spec: Spec, capabilities: Sequence[str], devices: Sequence[dict[str, Any]]) -> None:
    """Take the walls down: all of *capabilities*, nothing masked, /sys writable, the host's *devices*."""
    change_capabilities(spec, add=capabilities)
    linux = spec["linux"]
    linux["maskedPaths"], linux["readonlyPaths"] = None, None
    linux["resources"]["devices"] = [{"allow": True, "access": "rwm"}]
    linux["devices"] = list(devices)
    linux.pop("seccomp", None)
    for mount in spec["mounts"]:
        if mount["type"] in ("sysfs", "cgroup"):
            mount["options"] = ["rw" if option == "ro" else option for option in mount["options"]]


def add_device(spec: Spec, device: dict[str, Any]) -> None:
    """Make *device* available, and allow its use; it is as in the spec's ``linux.devices``."""
    spec["linux"].setdefault("devices", []).append(device)
    rule = {"allow": True, "access": "rwm", **{key: device[key] for key in ("type", "major", "minor")}}
    spec["linux"]["resources"]["devices"].append(rule)


def set_memory_limit(spec: Spec, limit: int) -> None:
    """At most *limit* bytes."""
    spec["linux"]["resources"]["memory"] = {"limit": limit}


def set_cpu_time(spec: Spec, quota: int, period: int = 100_000) -> None:
    """At most *quota* microseconds of processor time in each *period*; a period of 0 is the kernel's own."""
    cpu = spec["linux"]["resources"].setdefault("cpu", {})
    cpu["quota"] = quota
    if period:
        cpu["period"] = period


def set_cpu_shares(spec: Spec, shares: int) -> None:
    """The weight against other containers; 1024 is everybody's."""
    spec["linux"]["resources"].setdefault("cpu", {})["shares"] = shares
