"""``tuning``: sysctls of the container's network, and its interface's hardware address, MTU, modes and queue.

::

    {"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}, "mac": "02:..", "mtu": 1400, "promisc": true,
     "allmulti": true, "txQLen": 500, "capabilities": {"mac": true}}

What the interface was like before is written down in ``/run/cni/tuning`` for DEL, since it may be an interface of the
host's that goes back (``host-device``). Sysctls end with the namespace. Only those below ``net.`` are taken: the others
are not the container's, but everybody's. An administrator can name the ones allowed, as regular expressions, in
``/etc/cni/tuning/allowlist.conf``.

Source: plugins@3d27709 plugins/meta/tuning.
"""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

from ...linux.links import IFF, Link, find, set_link
from ...linux.namespaces import inside
from ...linux.netlink import Netlink
from ...linux.tell import step
from ..failure import INVALID_CONFIG, OTHER, PluginError
from ..result import Result
from . import sandbox
from .skeleton import Config, Plugin, Request, get

FOLDER = "/run/cni/tuning"
ALLOWED = "/etc/cni/tuning/allowlist.conf"


def add(request: Request) -> Result:
    """Write down what is, and change what is asked for; the result tells the new hardware address."""
    result, wanted, sysctls = request.needed_previous(), _wanted(request), _sysctls(request)
    with sandbox.opened(request) as namespace, Netlink(namespace) as inner:
        with step("sysctls of the container's network"), inside(namespace):
            for name, value in sysctls.items():
                sandbox.setting(name, value)
        if wanted:
            device = sandbox.needed(inner, request.ifname)
            _backup(request).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _backup(request).write_text(json.dumps({key: _state(device)[key] for key in wanted}))
            _change(inner, device, wanted)
            _tell(result, request.ifname, sandbox.needed(inner, request.ifname), wanted)
    return result


def delete(request: Request) -> None:
    """Put the interface back, if it is still there."""
    try:
        before = json.loads(_backup(request).read_text())
    except (FileNotFoundError, ValueError):
        return
    with sandbox.opened_if_there(request) as namespace:
        if namespace is not None:
            with Netlink(namespace) as inner:
                device = find(inner, request.ifname)
                if device is not None:
                    _change(inner, device, before)
    _backup(request).unlink(missing_ok=True)


def check(request: Request) -> None:
    """Is everything as it was set?"""
    request.needed_previous()
    with sandbox.opened(request) as namespace, Netlink(namespace) as inner:
        with inside(namespace):
            for name, value in _sysctls(request).items():
                found = Path("/proc/sys/net", name).read_text().split()
                if found != value.split():
                    raise PluginError(OTHER, f"sysctl net/{name} is {' '.join(found)}, not {value}")
        state = _state(sandbox.needed(inner, request.ifname))
        for key, value in _wanted(request).items():
            if state[key] != value:
                raise PluginError(OTHER, f"{key} of {request.ifname} is {state[key]}, not {value}")


def collect(request: Request) -> None:
    """Forget what was written down for interfaces that there are no more. A file does not say of which network it is,
    so in a folder that networks share nothing can be said to be nobody's."""
    if get(request.config, "dataDir", str, ""):
        kept = {f"{container_id}_{ifname}.json" for container_id, ifname in request.valid}
        for path in _backup(request).parent.glob("*_*.json"):
            if path.name not in kept:
                path.unlink(missing_ok=True)


def _change(net: Netlink, device: Link, wanted: Config) -> None:
    with step(f"{device.name} as it is asked for"):
        set_link(
            net,
            device,
            mac=wanted.get("mac", ""),
            mtu=wanted.get("mtu", 0),
            promisc=wanted.get("promisc"),
            allmulti=wanted.get("allmulti"),
            queue=wanted.get("txQLen"),
        )


def _state(device: Link) -> dict[str, Any]:
    return {
        "mac": device.mac,
        "mtu": device.mtu,
        "promisc": bool(device.flags & IFF.PROMISC),
        "allmulti": bool(device.flags & IFF.ALLMULTI),
        "txQLen": device.queue,
    }


def _tell(result: Result, name: str, device: Link, wanted: Config) -> None:
    for each in result["interfaces"]:
        if each["name"] == name and each.get("sandbox"):
            each |= {key: value for key, value in (("mac", device.mac), ("mtu", device.mtu)) if key in wanted}


def _wanted(request: Request) -> dict[str, Any]:
    """What is asked of the interface, by the configuration, CNI_ARGS, the runtime and ``args``; the last one wins."""
    cni = get(get(request.config, "args", dict, {}), "cni", dict, {})
    sources = [request.config, {"mac": request.args.get("MAC")}, {"mac": request.runtime.get("mac")}, cni]
    wanted: dict[str, Any] = {}
    for source in sources:
        for key, kind in (("mac", str), ("mtu", int), ("promisc", bool), ("allmulti", bool), ("txQLen", int)):
            value: Any = get(source, key, kind, None)
            if value is not None:
                wanted[key] = value
    # These mean "as it is"; only the others can be asked to be off.
    wanted = {key: value for key, value in wanted.items() if value or key in ("allmulti", "txQLen")}
    if "mac" in wanted and not re.fullmatch(r"([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}", wanted["mac"]):
        raise PluginError(INVALID_CONFIG, f"mac {wanted['mac']!r} is not a hardware address")
    if "mac" in wanted:
        wanted["mac"] = wanted["mac"].lower()
    return wanted


def _sysctls(request: Request) -> dict[str, str]:
    """Paths below /proc/sys/net with their values."""
    cni = get(get(request.config, "args", dict, {}), "cni", dict, {})
    asked = {**get(request.config, "sysctl", dict, {}), **get(cni, "sysctl", dict, {})}
    allowed = _allowed()
    found = {}
    for name, value in asked.items():
        # A dot separates, unless slashes do: then a dot is part of an interface's name.
        path = name if "/" in name else name.replace(".", "/")
        path = path.lstrip("/").replace("IFNAME", request.ifname)
        if not path.startswith("net/") or any(part in ("", ".", "..") for part in path.split("/")):
            raise PluginError(INVALID_CONFIG, f"invalid net sysctl key: {name!r}")
        if allowed is not None and not any(re.fullmatch(pattern, name) for pattern in allowed):
            raise PluginError(INVALID_CONFIG, f"sysctl {name} is not allowed by {ALLOWED}")
        found[path.removeprefix("net/")] = str(value)
    return found


def _allowed() -> list[str] | None:
    with contextlib.suppress(FileNotFoundError):
        return [line.strip() for line in Path(ALLOWED).read_text().splitlines() if line.strip()]
    return None


def _backup(request: Request) -> Path:
    folder = get(request.config, "dataDir", str, "") or FOLDER
    return Path(folder, f"{request.container_id}_{request.ifname}.json")


PLUGIN = Plugin("tuning", add=add, delete=delete, check=check, collect=collect)

if __name__ == "__main__":
    PLUGIN.main()
