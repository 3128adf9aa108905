"""Network devices of the host that a container is given: moved, renamed, and set up again.

A device is in one network namespace at a time. To move it is one message to the kernel, which takes it down and strips
it of its addresses; its hardware address and its MTU stay. So the addresses that somebody gave it to keep are given
to it again, and it is brought up. Whether all can be moved is looked at before the first is, for what has been moved
is never fetched back: when the namespace ends, the kernel returns hardware and removes the rest.

Source: runtime-spec 1.3 config-linux.md#network-devices.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from ..errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from ..linux.ifname import check_ifname
from ..linux.links import IFF, Link, find, links, set_link
from ..linux.netlink import Netlink
from ..linux.routes import add_address, lasting_addresses
from ..linux.tell import step

Devices = dict[str, dict[str, str]]
"""By their names on the host; each may have a new ``name``, in which %d stands for the next free number."""


def check(devices: Devices) -> None:
    """Refuse names that the kernel would not take.

    Raises:
        InvalidArgument: one is none, or two devices shall have the same.
    """
    taken = set()
    for name, new in _renamed(devices):
        check_ifname(name)
        check_ifname(new.replace("%d", "0"))
        if new in taken and "%d" not in new:
            raise InvalidArgument(f"netDevices: two of them shall be called {new!r}")
        taken.add(new)


def move(devices: Devices, pid: int) -> None:
    """Give the devices to the network namespace of process *pid*.

    Raises:
        NotFound: the host has no such device.
        AlreadyExists: its name is taken in the container.
        FailedPrecondition: it is one that cannot be moved, or the container's network is the host's.
    """
    path = f"/proc/{pid}/ns/net"
    if os.path.samefile(path, "/proc/self/ns/net"):
        raise FailedPrecondition("unable to move network devices: the container's network namespace is the host's")
    namespace = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with Netlink() as host, Netlink(namespace) as inner:
            found = [(_movable(host, inner, name, new), new) for name, new in _renamed(devices)]
            for device, new in found:
                with step(
                    f"{device.name} moves into the container", spec="runtime-spec config-linux.md#network-devices"
                ):
                    _move(host, inner, device, new, namespace)
    finally:
        os.close(namespace)


def _renamed(devices: Devices) -> Iterator[tuple[str, str]]:
    return ((name, (wanted or {}).get("name") or name) for name, wanted in devices.items())


def _movable(host: Netlink, inner: Netlink, name: str, new: str) -> Link:
    device = find(host, name)
    if device is None:
        raise NotFound(f"network device {name}: there is none of this name on the host")
    if device.flags & IFF.LOOPBACK:
        raise FailedPrecondition(f"network device {name} is the loopback device, which every namespace has for itself")
    if find(inner, new) is not None:
        raise AlreadyExists(f"network device {name}: the container has a device {new} already")
    return device


def _move(host: Netlink, inner: Netlink, device: Link, new: str, namespace: int) -> None:
    kept = lasting_addresses(host, device)
    before = {each.ifindex for each in links(inner)}
    set_link(host, device, name=new, netns=namespace)
    moved = next(each for each in links(inner) if each.ifindex not in before and each.mac == device.mac)
    for address in kept:
        add_address(inner, moved, address)
    set_link(inner, moved, up=True)
