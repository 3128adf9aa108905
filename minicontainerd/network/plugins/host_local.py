"""``host-local``: addresses out of ranges, each given to one interface at a time, remembered as files on this host.

::

    "ipam": {"type": "host-local",
             "ranges": [[{"subnet": "10.1.0.0/16", "rangeStart": "10.1.2.1", "gateway": "10.1.0.1"}],   one address of
                        [{"subnet": "fd01::/64"}]],                                                     each set
             "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "/var/lib/cni/networks"}

    /var/lib/cni/networks/web/10.1.2.7            "<container>\\r\\n<interface>": a lease
    /var/lib/cni/networks/web/last_reserved_ip.0  where the search in set 0 goes on, so that an address rests a while
    /var/lib/cni/networks/web/lock                held while anybody looks or changes

A lease is written beside its place and linked to it, which either happens or not: the file of an address never exists
without the name of its owner, whenever we are killed. Giving back is by owner, not by address, so DEL and GC need to be
told nothing. The files are the reference's; both may work on one folder at once.

Source: plugins@3d27709 plugins/ipam/host-local.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from ...linux.routes import IP, Prefix
from ...linux.tell import step
from ..failure import INVALID_CONFIG, NOT_AVAILABLE, OTHER, PluginError
from ..result import Result
from ..versions import NEWEST, at_least
from .skeleton import Config, Plugin, Request, get

FOLDER = "/var/lib/cni/networks"
_LAST = "last_reserved_ip."


class Range(NamedTuple):
    """Addresses *first* to *last* of a subnet, without its *gateway*."""

    subnet: Prefix
    first: IP
    last: IP
    gateway: IP

    def has(self, address: IP) -> bool:
        """Whether the address is one of them; the gateway counts, as for the reference."""
        return address.version == self.subnet.version and int(self.first) <= int(address) <= int(self.last)


class Settings(NamedTuple):
    """What the configuration asks for: one address out of each of *sets*, among them those *wanted*."""

    folder: str
    sets: list[list[Range]]
    wanted: list[IP]
    routes: list[dict[str, Any]]
    dns: dict[str, Any]


def add(request: Request) -> Result:
    """Take one address out of each set of ranges; all or none.

    Raises:
        PluginError: a set has none left, a wanted address is not to be had, or this interface has one already.
    """
    settings = _settings(request)
    wanted, ips = list(settings.wanted), []
    with step(f"an address for {request.container_id}", "host-local"), _locked(settings.folder):
        owned = _owned(settings.folder, request)
        _take_no_second(settings, owned, request)
        try:
            for number, ranges in enumerate(settings.sets):
                asked = next((ip for ip in wanted if any(each.has(ip) for each in ranges)), None)
                if asked is not None:
                    wanted.remove(asked)
                ips.append(_take(settings.folder, number, ranges, asked, request))
            if wanted:
                raise PluginError(OTHER, f"failed to allocate all requested IPs: {', '.join(map(str, wanted))}")
        except BaseException:
            _give_back(settings.folder, request)
            raise
    return {
        "cniVersion": NEWEST,
        "interfaces": [],
        "ips": ips,
        "routes": settings.routes,
        "dns": settings.dns,
    }


def delete(request: Request) -> None:
    """Give back whatever this interface has."""
    folder = _folder(request)
    if os.path.isdir(folder):
        with _locked(folder):
            _give_back(folder, request)


def check(request: Request) -> None:
    """Has it an address, as ADD left it?"""
    folder = _folder(request)
    if os.path.isdir(folder):
        with _locked(folder):
            if _owned(folder, request):
                return
    raise PluginError(OTHER, f"no address is reserved for container {request.container_id}")


def collect(request: Request) -> None:
    """Give back the addresses of interfaces that there are no more."""
    folder, valid = _folder(request), set(request.valid)
    if os.path.isdir(folder):
        with _locked(folder):
            for path, owner in _leases(folder):
                container_id, _, ifname = owner.partition("\r\n")
                # Before interfaces were written down, a lease had only the container.
                if (container_id, ifname) not in valid and (ifname or container_id not in {id for id, _ in valid}):
                    _remove(path)


def status(request: Request) -> None:
    """Is there an address left in each set?"""
    settings = _settings(request)
    taken = (
        [ipaddress.ip_address(os.path.basename(path)) for path, _ in _leases(settings.folder)]
        if os.path.isdir(settings.folder)
        else []
    )
    for number, ranges in enumerate(settings.sets):
        room = sum(int(each.last) - int(each.first) + 1 - each.has(each.gateway) for each in ranges)
        if room <= sum(any(each.has(ip) for each in ranges) for ip in taken):
            raise PluginError(NOT_AVAILABLE, f"no IP addresses available in range set {number}")


def _take(folder: str, number: int, ranges: list[Range], asked: IP | None, request: Request) -> dict[str, Any]:
    if asked is not None:
        within = next(each for each in ranges if each.has(asked))
        if asked == within.gateway:
            raise PluginError(OTHER, f"requested ip {asked} is subnet's gateway")
        if not _reserve(folder, number, asked, request):
            raise PluginError(OTHER, f"requested IP address {asked} is not available in range set {number}")
        return _told(within, asked)
    taken = set(os.listdir(folder))
    for within, address in _candidates(ranges, _last(folder, number)):
        if str(address) not in taken and _reserve(folder, number, address, request):
            return _told(within, address)
    told = ", ".join(f"{each.first}-{each.last}" for each in ranges)
    raise PluginError(NOT_AVAILABLE, f"failed to allocate for range {number}: no IP addresses available in {told}")


def _candidates(ranges: list[Range], last: IP | None) -> Iterator[tuple[Range, IP]]:
    """Every address once, beginning behind the *last* that was given."""
    start = next((number for number, each in enumerate(ranges) if last is not None and each.has(last)), None)
    if start is None or last is None:
        spans = [(each, int(each.first), int(each.last)) for each in ranges]
    else:
        rest = [*ranges[start + 1 :], *ranges[:start]]
        spans = [(ranges[start], int(last) + 1, int(ranges[start].last))]
        spans += [(each, int(each.first), int(each.last)) for each in rest]
        spans += [(ranges[start], int(ranges[start].first), int(last))]
    for within, first, end in spans:
        make = type(within.first)
        for value in range(first, end + 1):
            if value != int(within.gateway):
                yield within, make(value)


def _reserve(folder: str, number: int, address: IP, request: Request) -> bool:
    """Write the lease; False if somebody has it, though not by our list."""
    draft = os.path.join(folder, f".lease.{os.getpid()}.{request.container_id}"[:200])
    _write(draft, f"{request.container_id}\r\n{request.ifname}")
    try:
        os.link(draft, os.path.join(folder, str(address)))
    except FileExistsError:
        return False
    finally:
        os.unlink(draft)
    _write(os.path.join(folder, f"{_LAST}{number}"), str(address))
    return True


def _told(within: Range, address: IP) -> dict[str, Any]:
    return {"address": f"{address}/{within.subnet.prefixlen}", "gateway": str(within.gateway)}


def _take_no_second(settings: Settings, owned: list[str], request: Request) -> None:
    for path in owned:
        with contextlib.suppress(ValueError):
            address = ipaddress.ip_address(os.path.basename(path))
            if any(each.has(address) for ranges in settings.sets for each in ranges):
                told = f"{address} has been allocated to {request.container_id}, duplicate allocation is not allowed"
                raise PluginError(OTHER, told)


def _owned(folder: str, request: Request) -> list[str]:
    owner = f"{request.container_id}\r\n{request.ifname}"
    return [path for path, its_owner in _leases(folder) if its_owner in (owner, request.container_id)]


def _give_back(folder: str, request: Request) -> None:
    for path in _owned(folder, request):
        _remove(path)
    for name in os.listdir(folder):
        if name.startswith(".lease.") and name.endswith(f".{request.container_id}"):  # of one that was killed
            _remove(os.path.join(folder, name))


def _leases(folder: str) -> Iterator[tuple[str, str]]:
    """Every address that is taken, with the text that says by whom."""
    for name in os.listdir(folder):
        if name[0] in "0123456789abcdef:" and ("." in name or ":" in name):
            path = os.path.join(folder, name)
            with contextlib.suppress(FileNotFoundError, UnicodeDecodeError):
                yield path, _read(path).strip()


def _last(folder: str, number: int) -> IP | None:
    try:
        return ipaddress.ip_address(_read(os.path.join(folder, f"{_LAST}{number}")).strip())
    except (FileNotFoundError, ValueError):
        return None


def _read(path: str) -> str:
    with open(path, newline="") as file:
        return file.read()


def _write(path: str, text: str) -> None:
    with open(path, "w", newline="") as file:
        file.write(text)


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


@contextlib.contextmanager
def _locked(folder: str) -> Iterator[None]:
    """Only one at a time, of ours and of the reference's, which takes the same lock."""
    os.makedirs(folder, mode=0o755, exist_ok=True)
    file = os.open(os.path.join(folder, "lock"), os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _ipam(request: Request) -> Config:
    ipam = get(request.config, "ipam", dict, {})
    if not ipam:
        raise PluginError(INVALID_CONFIG, "IPAM config missing 'ipam' key")
    return ipam


def _folder(request: Request) -> str:
    return os.path.join(get(_ipam(request), "dataDir", str, "") or FOLDER, request.network)


def _settings(request: Request) -> Settings:
    ipam = _ipam(request)
    listed = [*get(request.runtime, "ipRanges", list, [])]
    listed += [[ipam]] if ipam.get("subnet") else []
    listed += get(ipam, "ranges", list, [])
    if not listed:
        raise PluginError(INVALID_CONFIG, "no IP ranges specified")
    sets = [_range_set(number, each) for number, each in enumerate(listed)]
    versions = [ranges[0].subnet.version for ranges in sets]
    if not at_least(request.version, "0.3.0") and max(versions.count(4), versions.count(6)) > 1:
        told = f"CNI version {request.version} does not support more than 1 address per family"
        raise PluginError(INVALID_CONFIG, told)
    _refuse_overlaps(sets)
    routes = [{key: value for key, value in each.items() if value} for each in get(ipam, "routes", list, [])]
    return Settings(_folder(request), sets, _wanted(request), routes, _dns(get(ipam, "resolvConf", str, "")))


def _range_set(number: int, data: Any) -> list[Range]:
    if not isinstance(data, list) or not data:
        raise PluginError(INVALID_CONFIG, f"invalid range set {number}: it must be a list with a range in it")
    try:
        ranges = [_range(each) for each in data]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PluginError(INVALID_CONFIG, f"invalid range set {number}: {error}") from error
    if len({each.subnet.version for each in ranges}) > 1:
        raise PluginError(INVALID_CONFIG, f"invalid range set {number}: mixed address families")
    return ranges


def _range(data: dict[str, Any]) -> Range:
    subnet = ipaddress.ip_network(data["subnet"])
    if subnet.prefixlen > subnet.max_prefixlen - 2:
        raise ValueError(f"network {subnet} too small to allocate from")
    # The last address of an IPv4 subnet is its broadcast address; IPv6 has none, and the reference stops there as well.
    first = ipaddress.ip_address(data.get("rangeStart") or subnet[1])
    last = ipaddress.ip_address(data.get("rangeEnd") or subnet[-2 if subnet.version == 4 else -1])
    gateway = ipaddress.ip_address(data.get("gateway") or subnet[1])
    for name, address in (("RangeStart", first), ("RangeEnd", last)):
        if address not in subnet:
            raise ValueError(f"{name} {address} not in network {subnet}")
    if int(first) > int(last):
        raise ValueError(f"RangeStart {first} is behind RangeEnd {last}")
    return Range(subnet, first, last, gateway)


def _refuse_overlaps(sets: list[list[Range]]) -> None:
    every = [(number, each) for number, ranges in enumerate(sets) for each in ranges]
    for place, (number, one) in enumerate(every):
        for other_number, other in every[place + 1 :]:
            if one.has(other.first) or one.has(other.last) or other.has(one.first):
                raise PluginError(INVALID_CONFIG, f"range set {number} overlaps with {other_number}")


def _wanted(request: Request) -> list[IP]:
    """Addresses asked for: by CNI_ARGS, by ``args`` in the configuration, by the runtime."""
    cni = get(get(request.config, "args", dict, {}), "cni", dict, {})
    texts = [request.args[key] for key in ("IP",) if key in request.args]
    texts += [*get(cni, "ips", list, []), *get(request.runtime, "ips", list, [])]
    try:
        return [ipaddress.ip_address(str(text).partition("/")[0]) for text in texts]
    except ValueError as error:
        raise PluginError(INVALID_CONFIG, f"cannot understand ip: {error}") from error


def _dns(path: str) -> dict[str, Any]:
    """What a resolv.conf says, for the container; resolv.conf(5)."""
    if not path:
        return {}
    told: dict[str, Any] = {}
    for line in _read(path).splitlines():
        word, *values = line.split() or [""]
        if word == "nameserver" and values:
            told.setdefault("nameservers", []).append(values[0])
        elif word == "domain" and values:
            told["domain"] = values[0]
        elif word in ("search", "options"):
            told.setdefault(word, []).extend(values)
    return told


PLUGIN = Plugin("host-local", add=add, delete=delete, check=check, collect=collect, status=status)

if __name__ == "__main__":
    PLUGIN.main()
