"""The flags that describe a container, shared by ``run`` and ``containers create``, and what they mean.

ctr has one set of flags for both commands. :func:`spec_flags` adds them to a command, which gets their values as one
:class:`Flags`; :func:`create_container` turns those into snapshot, spec and record.
Source: containerd@301026e cmd/ctr/commands/{commands,commands_unix}.go, cmd/ctr/commands/run/run_unix.go.
"""

from __future__ import annotations

import functools
import json
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click

from minicontainerd.api.services.containers.v1.containers_pb2 import Container
from minicontainerd.api.types.runc.options.oci_pb2 import Options
from minicontainerd.cli.output import parse_labels
from minicontainerd.client import Client, container, devices
from minicontainerd.client.image import Image
from minicontainerd.client.pull import unpack
from minicontainerd.errors import InvalidArgument
from minicontainerd.linux import capabilities
from minicontainerd.oci import platform as platforms
from minicontainerd.oci import spec as specs
from minicontainerd.oci.image import ExecConfig
from minicontainerd.oci.seccomp import default_profile
from minicontainerd.snapshot.diff import temporarily


@dataclass(frozen=True)
class Flags:
    """The values of :func:`spec_flags`, named like them. Sizes in bytes, processor time in microseconds."""

    snapshotter: str
    snapshotter_label: tuple[str, ...]
    config: str
    cwd: str
    env: tuple[str, ...]
    env_file: str
    label: tuple[str, ...]
    annotation: tuple[str, ...]
    mount: tuple[str, ...]
    net_host: bool
    privileged: bool
    read_only: bool
    runtime: str
    runc_binary: str
    runc_root: str
    runc_systemd_cgroup: bool
    tty: bool
    with_ns: tuple[str, ...]
    pid_file: str
    allow_new_privs: bool
    memory_limit: int
    cap_add: tuple[str, ...]
    cap_drop: tuple[str, ...]
    seccomp: bool
    seccomp_profile: str
    rootfs: bool
    no_pivot: bool
    cpus: float
    cpu_shares: int
    cpu_quota: int
    cpu_period: int
    cgroup: str | None
    rootfs_propagation: str
    device: tuple[str, ...]
    hostname: str
    user: str
    platform: str


def _many(name: str, help: str) -> Callable[[Any], Any]:
    return click.option(name, multiple=True, help=help)


_OPTIONS = (
    click.option("--snapshotter", default="", envvar="CONTAINERD_SNAPSHOTTER", help="Where the root filesystem lives."),
    _many("--snapshotter-label", "A label for the new snapshot."),
    click.option("--config", "-c", default="", help="Take the spec from this file."),
    click.option("--cwd", default="", help="The working directory."),
    _many("--env", "NAME=value for the environment."),
    click.option("--env-file", default="", help="A file with one NAME=value a line."),
    _many("--label", "A label for the container."),
    _many("--annotation", "An annotation for the spec."),
    _many("--mount", "type=bind,src=/tmp,dst=/host,options=rbind:ro"),
    click.option("--net-host", is_flag=True, help="Share the host's network."),
    click.option("--privileged", is_flag=True, help="All capabilities, all devices, nothing masked."),
    click.option("--read-only", is_flag=True, help="A root filesystem that cannot be written."),
    click.option("--runtime", default=container.RUNTIME, show_default=True, help="Which shim."),
    click.option("--runc-binary", default="", help="The runtime that the shim is to drive."),
    click.option("--runc-root", default="", help="Where that runtime keeps its state."),
    click.option("--runc-systemd-cgroup", is_flag=True, help="Have systemd make the cgroup."),
    click.option("--tty", "-t", is_flag=True, help="Give it a terminal."),
    _many("--with-ns", "Join a namespace: network:/run/netns/x"),
    click.option("--pid-file", default="", help="Write the pid of the first process there."),
    click.option("--allow-new-privs", is_flag=True, help="Let setuid programs gain privileges."),
    click.option("--memory-limit", type=int, default=0, help="At most so many bytes of memory."),
    _many("--cap-add", "Add a capability, written CAP_…"),
    _many("--cap-drop", "Drop a capability, written CAP_…"),
    click.option("--seccomp", is_flag=True, help="Filter system calls by the default profile."),
    click.option("--seccomp-profile", default="", help="A file with a seccomp profile, as in the spec."),
    click.option("--rootfs", is_flag=True, help="The first argument is a folder and no image."),
    click.option("--no-pivot", is_flag=True, help="Do not use pivot_root."),
    click.option("--cpus", type=float, default=0.0, help="At most so many processors."),
    click.option("--cpu-shares", type=int, default=0, help="The weight of its processor time; 1024 is everybody's."),
    click.option("--cpu-quota", type=int, default=-1, help="At most so many microseconds in each period."),
    click.option("--cpu-period", type=int, default=0, help="The length of a period in microseconds."),
    click.option("--cgroup", default=None, help="The path of the cgroup; empty for none."),
    click.option("--rootfs-propagation", default="", help="private, slave, shared…"),
    _many("--device", "A device node of the host."),
    click.option("--hostname", default="", help="The name it sees itself under."),
    click.option("--user", "-u", default="", help="user[:group], by name or number."),
    click.option("--platform", default="", help="Of an image for several, take this one."),
)


def spec_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags to *command*, which gets them as its argument *flags*."""

    @functools.wraps(command)
    def collect(*args: Any, **kwargs: Any) -> Any:
        values = {field.name: kwargs.pop(field.name) for field in fields(Flags)}
        return command(*args, flags=Flags(**values), **kwargs)

    return functools.reduce(lambda decorated, option: option(decorated), reversed(_OPTIONS), collect)


def split_arguments(flags: Flags, arguments: tuple[str, ...]) -> tuple[str, str, tuple[str, ...]]:
    """``IMAGE ID [COMMAND…]``, or with a spec from a file only ``ID``: answers image, id and command.

    Raises:
        InvalidArgument: one is missing.
    """
    if flags.config:
        if len(arguments) != 1:
            raise click.UsageError("with spec config file, only container id should be provided")
        return "", arguments[0], ()
    if not arguments:
        raise click.UsageError("image ref must be provided")
    if len(arguments) < 2:
        raise click.UsageError("container id must be provided")
    return arguments[0], arguments[1], arguments[2:]


def create_container(client: Client, flags: Flags, ref: str, id: str, command: tuple[str, ...]) -> Container:
    """Make the container *id* of the image or folder *ref*; answers its record."""
    spec = specs.default(client.namespace, id)
    labels = parse_labels(flags.label)
    if flags.config:
        spec = json.loads(Path(flags.config).read_text())
        return client.containers.create(_record(flags, id, spec, labels))
    if flags.rootfs:
        spec["root"]["path"] = str(Path(ref).absolute())
        specs.apply_command(spec, command)
        _apply(flags, spec, spec["root"]["path"])
        return client.containers.create(_record(flags, id, spec, labels))
    platform = platforms.parse(flags.platform) if flags.platform else None
    image = Image(client, client.images.get(ref), platform)
    config = image.config().config or ExecConfig()
    snapshotter = client.snapshots(flags.snapshotter).snapshotter
    if not image.is_unpacked(snapshotter):
        unpack(client, image, snapshotter)
    specs.apply_image(spec, config, command)
    labels = {**container.image_labels(client, image, config), **labels}
    with client.leased():
        return _create_from_image(client, flags, image, id, spec, config, labels, snapshotter)


def _create_from_image(
    client: Client,
    flags: Flags,
    image: Image,
    id: str,
    spec: specs.Spec,
    config: ExecConfig,
    labels: dict[str, str],
    snapshotter: str,
) -> Container:
    """The part that must be under a lease: between the snapshot and the record that refers to it."""
    snapshots = client.snapshots(snapshotter)
    mounts = snapshots.prepare(id, image.chain_id(), parse_labels(flags.snapshotter_label))
    try:
        with temporarily(mounts, read_only=True) as rootfs:
            container.set_user(spec, flags.user or config.user, rootfs)
        _apply(flags, spec, "")
        made = _record(flags, id, spec, labels, image=image.name, snapshotter=snapshotter)
        made.labels.setdefault("io.containerd.image.config.stop-signal", config.stop_signal or "SIGTERM")
        return client.containers.create(made)
    except BaseException:
        snapshots.remove(id)
        raise


def _record(
    flags: Flags, id: str, spec: specs.Spec, labels: dict[str, str], image: str = "", snapshotter: str = ""
) -> Container:
    options = Options(
        binary_name=flags.runc_binary,
        root=flags.runc_root,
        systemd_cgroup=flags.runc_systemd_cgroup,
        no_pivot_root=flags.no_pivot,
    )
    return container.record(
        id, spec, runtime=flags.runtime, options=options, labels=labels, image=image, snapshotter=snapshotter
    )


def _apply(flags: Flags, spec: specs.Spec, rootfs: str) -> None:
    """What the flags say, over what image and defaults say, in ctr's order."""
    process, linux = spec["process"], spec["linux"]
    if flags.env_file:
        specs.set_environment(spec, Path(flags.env_file).read_text().splitlines())
    specs.set_environment(spec, [pair for pair in flags.env if "=" in pair])  # a bare name takes nothing from the image
    for mount in flags.mount:
        specs.add_mount(spec, mount)
    if flags.read_only:
        spec["root"]["readonly"] = True
    if flags.cwd:
        process["cwd"] = flags.cwd
    if flags.user and rootfs:
        container.set_user(spec, flags.user, rootfs)
    if flags.tty:
        specs.set_terminal(spec)
    if flags.privileged:
        every = capabilities.names_in(capabilities.bounding())
        specs.make_privileged(spec, every, list(devices.host_devices()))
    if flags.net_host:
        specs.share_host_network(spec, socket.gethostname())
    if flags.annotation:
        spec.setdefault("annotations", {}).update(parse_labels(flags.annotation))
    specs.change_capabilities(spec, flags.cap_add, flags.cap_drop)
    if flags.seccomp:
        granted = process.get("capabilities", {}).get("bounding") or []
        linux["seccomp"] = default_profile(granted, os.uname().machine)
    if flags.seccomp_profile:
        linux["seccomp"] = json.loads(Path(flags.seccomp_profile).read_text())
    _limit(flags, spec)
    for text in flags.with_ns:
        kind, colon, path = text.partition(":")
        if not colon:
            raise InvalidArgument("joining a Linux namespace using --with-ns requires the format 'nstype:path'")
        specs.join_namespace(spec, kind, path)
    if flags.allow_new_privs:
        process["noNewPrivileges"] = False
    if flags.cgroup is not None:
        linux["cgroupsPath"] = flags.cgroup
    for path in flags.device:
        specs.add_device(spec, devices.device_at(path))
    if flags.rootfs_propagation:
        linux["rootfsPropagation"] = flags.rootfs_propagation
    if flags.hostname:
        spec["hostname"] = flags.hostname


def _limit(flags: Flags, spec: specs.Spec) -> None:
    if flags.cpus > 0 and (flags.cpu_quota != -1 or flags.cpu_period):
        raise InvalidArgument("cpus and quota/period should be used separately")
    if flags.cpus > 0:
        specs.set_cpu_time(spec, int(flags.cpus * 100_000))
    elif flags.cpu_quota != -1 or flags.cpu_period:
        specs.set_cpu_time(spec, flags.cpu_quota, flags.cpu_period)
    if flags.cpu_shares:
        specs.set_cpu_shares(spec, flags.cpu_shares)
    if flags.memory_limit:
        specs.set_memory_limit(spec, flags.memory_limit)
