"""The flags of ``run`` about networks, and the task that waits for its network before it starts."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import click

from minicontainerd.cli.explain import told
from minicontainerd.cli.output import warn
from minicontainerd.cli.spec_flags import Flags
from minicontainerd.client import Client, container
from minicontainerd.client.etc_files import EtcFiles
from minicontainerd.client.networking import Networking, full_id, published
from minicontainerd.network import config
from minicontainerd.network.attach import PATH


@dataclass(frozen=True)
class NetworkFlags:
    """The values of :func:`network_flags`, named like them."""

    cni: bool
    net: tuple[str, ...]
    publish: tuple[str, ...]
    etc_files: bool

    @property
    def wanted(self) -> bool:
        """Whether a network is wanted at all."""
        return self.cni or bool(self.net or self.publish)


_OPTIONS = (
    click.option("--cni", is_flag=True, help="Attach it to the first CNI network that is configured."),
    click.option("--net", multiple=True, help="Attach it to the CNI network of this name."),
    click.option(
        "--publish", multiple=True, help="[ADDRESS:]HOST:CONTAINER[/PROTOCOL]: a port of the host leads to it."
    ),
    click.option("--etc-files", is_flag=True, help="Give it /etc/hosts, /etc/hostname and /etc/resolv.conf."),
)


def network_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags to *command*, which gets them as its argument *network*."""

    @functools.wraps(command)
    def collect(*args: Any, **kwargs: Any) -> Any:
        values = {field.name: kwargs.pop(field.name) for field in fields(NetworkFlags)}
        return command(*args, network=NetworkFlags(**values), **kwargs)

    return functools.reduce(lambda decorated, option: option(decorated), reversed(_OPTIONS), collect)


def networking() -> Networking:
    """Networks and plugins from their usual folders, or those that NETCONFPATH and CNI_PATH name, as for cnitool."""
    path = os.environ.get("CNI_PATH")
    return Networking(
        os.environ.get("NETCONFPATH") or config.FOLDER,
        path.split(os.pathsep) if path else PATH,
        os.environ.get("CNI_CACHE_DIR") or "/var/lib/cni",
    )


class Attaching:
    """A container that is to be on networks: known to be possible before it is created, done before it starts."""

    def __init__(self, client: Client, id: str, flags: NetworkFlags) -> None:
        self.client, self.id, self.flags = client, id, flags
        self.networking = networking()
        self.networks = self.networking.choose(flags.net) if flags.wanted else []
        self.ports = [published(text) for text in flags.publish]
        self.files = EtcFiles(full_id(client.namespace, id)) if flags.etc_files else None

    def with_mounts(self, flags: Flags) -> Flags:
        """The container's flags, with the files that it is to have."""
        return replace(flags, mount=(*flags.mount, *self.files.make())) if self.files else flags

    def attach(self, flags: Flags) -> Callable[[int], None]:
        """What is to be done between create and start, with the pid; told to whom *flags* say."""

        def attach(pid: int) -> None:
            with told(flags, by="network"):
                results = self.networking.attach(self.client.namespace, self.id, pid, self.networks, self.ports)
            if self.files:
                spec = container.spec_of(self.client.containers.get(self.id))
                self.files.fill(spec.get("hostname") or self.id, results)

        return attach


def leave_networks(client: Client, id: str) -> None:
    """Undo what was attached, when the task is gone; what goes wrong is told, and stays to be done by GC."""
    try:
        networking().detach(client.namespace, id)
    except ExceptionGroup as group:
        for error in group.exceptions:
            warn(f"network: {error}")
    EtcFiles(full_id(client.namespace, id)).remove()
