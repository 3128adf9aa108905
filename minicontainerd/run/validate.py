"""Refuse a config.json that cannot be carried out, before anything is done for it.

Only what would otherwise go wrong silently or half-way is looked at; the rest the kernel refuses by itself.
Source: runtime-spec 1.3; the words are runc@76d9cf5's where it has some (libcontainer/configs/validate).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..errors import InvalidArgument, NotFound, Unimplemented
from ..linux import apparmor, selinux
from ..linux.kernel_file import sysctl_path
from ..linux.mount_options import PROPAGATION
from ..linux.namespaces import FLAGS
from ..oci import shape
from . import attributes, devices, hooks

if TYPE_CHECKING:
    from ..oci.runtime import IDMapping, Mount, Process, Spec

_IPC_SYSCTLS = frozenset(
    [
        "kernel/msgmax",
        "kernel/msgmnb",
        "kernel/msgmni",
        "kernel/sem",
        "kernel/shmall",
        "kernel/shmmax",
        "kernel/shmmni",
        "kernel/shm_rmid_forced",
    ]
)


def load_config(bundle: str) -> Spec:
    """The config.json of *bundle*, checked.

    Raises:
        NotFound: there is none.
        InvalidArgument: it is no JSON, or asks for what cannot be.
    """
    if not os.path.isdir(bundle):
        raise NotFound(f"chdir {bundle}: no such file or directory")
    path = os.path.join(bundle, "config.json")
    try:
        with open(path, "rb") as file:
            config: Spec = shape.read(file.read(), "Spec")
    except FileNotFoundError:
        raise NotFound("JSON specification file config.json not found") from None
    except InvalidArgument as error:
        raise InvalidArgument(f"{path}: {error.args[0]}") from error
    check(config)
    return config


def check(config: Spec) -> None:
    """Look at the whole of *config*.

    Raises:
        InvalidArgument: with the first thing found.
    """
    _version(config.get("ociVersion", ""))
    if not config.get("root", {}).get("path"):
        raise InvalidArgument("root must be specified")
    check_process(config.get("process"))
    namespaces = _namespaces(config)
    linux = config.get("linux", {})
    for key in ("hostname", "domainname"):
        if config.get(key) and "uts" not in namespaces:
            raise InvalidArgument(f"unable to set {key} without a private UTS namespace")
    hides = (linux.get("maskedPaths"), linux.get("readonlyPaths"))
    if any(hides) and "mount" not in namespaces:
        raise InvalidArgument("unable to restrict sys entries without a private MNT namespace")
    check_identities(config, namespaces)
    for name in linux.get("sysctl") or {}:
        _sysctl(name, namespaces)
    for each in config.get("mounts") or []:
        options = set(each.get("options") or [])
        if "tmpcopyup" in options and each.get("type") != "tmpfs":
            raise InvalidArgument(f'mount "{each["destination"]}": only a tmpfs can have the option tmpcopyup')
    if (propagation := linux.get("rootfsPropagation")) and propagation not in PROPAGATION:
        raise InvalidArgument(f"rootfsPropagation={propagation} is not supported")
    if linux.get("mountLabel") and not selinux.is_enabled():
        raise Unimplemented("mountLabel is specified in config, but SELinux is disabled or not supported")
    attributes.check_container(linux)
    devices.check(linux.get("devices") or [])
    hooks.check(config)
    if wanted := linux.get("netDevices"):
        _network_devices(wanted, namespaces)
    if linux.get("intelRdt"):
        raise Unimplemented("intelRdt is specified in config, but " + _why_no_resource_control())


def check_identities(config: Spec, namespaces: dict[str, str]) -> None:
    """Mappings and clock offsets go with the namespace that has them, and nowhere else.

    Raises:
        InvalidArgument: in runc's words.
    """
    linux = config.get("linux", {})
    mapped = bool(linux.get("uidMappings")), bool(linux.get("gidMappings"))
    if any(mapped) and "user" not in namespaces:
        raise InvalidArgument("user namespace mappings specified, but user namespace isn't enabled in the config")
    if "user" not in namespaces and os.geteuid() != 0:
        raise InvalidArgument("rootless container requires user namespaces")
    if namespaces.get("user") == "" and not all(mapped):
        raise InvalidArgument("user namespaces enabled, but no uid or gid mappings found")
    if namespaces.get("user") == "" and not all(_has_root(linux[key]) for key in ("uidMappings", "gidMappings")):
        raise InvalidArgument("user namespaces enabled, but no mapping of 0 found: nobody could set it up from inside")
    if linux.get("timeOffsets") and namespaces.get("time") != "":
        raise InvalidArgument("time namespace offsets specified, but no new time namespace is in the config")
    for clock in linux.get("timeOffsets") or {}:
        if clock not in ("monotonic", "boottime"):
            raise InvalidArgument(f'time namespace offset of "{clock}": only monotonic and boottime have one')
    for each in config.get("mounts") or []:
        _id_mapped(each, "user" in namespaces)


def _has_root(mappings: list[IDMapping]) -> bool:
    return any(each["containerID"] == 0 and each["size"] > 0 for each in mappings)


def _id_mapped(each: Mount, in_user_namespace: bool) -> None:
    where, options = each["destination"], set(each.get("options") or [])
    mapped = bool(each.get("uidMappings")), bool(each.get("gidMappings"))
    if not any(mapped) and not options & {"idmap", "ridmap"}:
        return
    if not options & {"bind", "rbind"} and each.get("type") != "bind":
        raise Unimplemented(f'mount "{where}": id-mapped mounts are only supported for bind mounts')
    if any(mapped) != all(mapped):
        raise InvalidArgument(f'mount "{where}": id-mapped mounts need both uidMappings and gidMappings')
    if not any(mapped) and not in_user_namespace:
        raise InvalidArgument(
            f'mount "{where}": idmap without mappings takes those of a user namespace, and there is none'
        )


def check_process(process: Process | None) -> None:
    """Look at a process, of a config or of ``exec``.

    Raises:
        InvalidArgument: with the first thing found.
        Unimplemented: it asks for a security module that is not driven here.
    """
    if not process:
        raise InvalidArgument("process property must not be empty")
    if not process.get("cwd"):
        raise InvalidArgument("Cwd property must not be empty")
    if not process["cwd"].startswith("/"):
        raise InvalidArgument("Cwd must be an absolute path")
    if not process.get("args"):
        raise InvalidArgument("args must not be empty")
    attributes.check(process)
    modules = (
        ("apparmorProfile", "AppArmor", apparmor.is_enabled()),
        ("selinuxLabel", "SELinux", selinux.is_enabled()),
    )
    for key, module, is_here in modules:
        if process.get(key) and not is_here:
            raise Unimplemented(f"{key} is specified in config, but {module} is disabled or not supported")


def _why_no_resource_control() -> str:
    with open("/proc/self/mounts", encoding="utf-8", errors="replace") as file:
        is_mounted = any(line.split()[2] == "resctrl" for line in file)
    return "resctrl is not driven here" if is_mounted else "no resctrl filesystem is mounted"


def _version(version: str) -> None:
    if not version.startswith("1."):
        raise InvalidArgument(f"ociVersion {version!r}: only 1.x is understood")


def _namespaces(config: Spec) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in config.get("linux", {}).get("namespaces") or []:
        kind = each["type"]
        if kind not in FLAGS:
            raise InvalidArgument(f'namespace "{kind}" does not exist')
        if kind in found:
            raise InvalidArgument(f'malformed spec file: duplicated ns "{kind}"')
        found[kind] = each.get("path", "")
    return found


def _network_devices(wanted: dict[str, dict[str, str]], namespaces: dict[str, str]) -> None:
    from . import netdevices

    if "network" not in namespaces:
        raise InvalidArgument("unable to move network devices without a NET namespace")
    netdevices.check(wanted)


def _sysctl(name: str, namespaces: dict[str, str]) -> None:
    """Only what belongs to a namespace of the container's own may be set; all else would change the host."""
    path = sysctl_path(name)
    if path in _IPC_SYSCTLS or path.startswith("fs/mqueue/"):
        if "ipc" not in namespaces:
            raise InvalidArgument(f'sysctl "{name}" is not allowed in the hosts ipc namespace')
    elif path.startswith("net/"):
        joined = namespaces.get("network")
        if joined is None or (joined and os.path.exists(joined) and os.path.samefile(joined, "/proc/self/ns/net")):
            raise InvalidArgument(f'sysctl "{name}" not allowed in host network namespace')
    elif path == "kernel/domainname" and "uts" in namespaces:
        return
    else:
        raise InvalidArgument(f'sysctl "{name}" is not in a separate kernel namespace')


def parse_process(text: str) -> Process:
    """The process that ``exec --process FILE`` names.

    Raises:
        InvalidArgument: it is no JSON, or no process.
    """
    try:
        process: Process = shape.read(text, "Process")
    except InvalidArgument as error:
        raise InvalidArgument(f"process file: {error.args[0]}") from error
    return process
