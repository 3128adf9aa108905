"""Which servers to ask for an image: the registry in its name, or the mirrors that a ``hosts.toml`` puts before it.

A folder has a subfolder for every registry::

    certs.d/docker.io/hosts.toml
        server = "https://registry-1.docker.io"          # asked last, with the settings at the top of the file
        [host."https://mirror.example"]                  # asked in the order they are written
          capabilities = ["pull", "resolve"]             # what it may be asked: resolve means it may name digests
    certs.d/registry.example_5000_/hosts.toml            # for registry.example:5000: this name is tried first,
    certs.d/registry.example:5000/hosts.toml             # then this,
    certs.d/_default/hosts.toml                          # then this

Without a ``hosts.toml`` in it, the folder may hold Docker's files: ``*.crt`` to trust, ``*.cert`` and ``*.key`` to
show. A mirror is told which registry is meant by ``?ns=docker.io``, so that one mirror can serve many.

TOML tables have no order, but this file's do; tomllib keeps them as written, as Python's dictionaries are ordered.
Source: containerd@301026e core/remotes/docker/config/{hosts,config_unix}.go, docs/hosts.md.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from posixpath import normpath
from typing import Any
from urllib.parse import urlsplit

from minicontainerd.errors import InvalidArgument

CAPABILITIES = frozenset(("pull", "resolve", "push", "referrers"))
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Host:
    """One server: where it is, and how to speak to it. *timeout* is for connecting, in seconds."""

    scheme: str
    host: str
    path: str = "/v2"
    capabilities: frozenset[str] = CAPABILITIES
    ca: tuple[str, ...] = ()
    client: tuple[tuple[str, str], ...] = ()  # certificate and key; the key may be in the certificate's file
    skip_verify: bool = False
    header: tuple[tuple[str, str], ...] = field(default=())
    timeout: float | None = None

    @property
    def url(self) -> str:
        """Where the API begins."""
        return f"{self.scheme}://{self.host}{self.path}"

    @property
    def has_tls_settings(self) -> bool:
        """Does the configuration speak of TLS? Then https is tried first, whatever the scheme says."""
        return bool(self.ca or self.client or self.skip_verify)


def is_localhost(host: str) -> bool:
    """Is the registry *host* on this machine, by its name alone?

    >>> [is_localhost(name) for name in ("localhost:5000", "127.0.1.1", "[::1]:80", "localhost.example")]
    [True, True, True, False]
    """
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def default_host(registry: str, *, plain_http: bool = False, skip_verify: bool = False) -> Host:
    """The server of a registry without any configuration: https, except on this machine."""
    if registry == "docker.io":
        return Host("https", "registry-1.docker.io", skip_verify=skip_verify)
    port = urlsplit(f"//{registry}").port
    if plain_http:
        return Host("http", registry)
    if is_localhost(registry) and port not in (None, 443):
        return Host("http", registry, skip_verify=port != 80)  # TLS is tried, and may be signed by anybody
    return Host("https", registry, skip_verify=skip_verify)


def hosts(
    registry: str, folder: Path | None = None, *, plain_http: bool = False, skip_verify: bool = False
) -> list[Host]:
    """The servers to ask for images of *registry*, in order.

    Raises:
        InvalidArgument: the configuration, which the message names, cannot be understood.
    """
    last = default_host(registry, plain_http=plain_http, skip_verify=skip_verify)
    for name in _folder_names(registry):
        if folder and (folder / name).is_dir():
            return _load(folder / name, last)
    return [last]


def _folder_names(registry: str) -> list[str]:
    name, colon, port = registry.rpartition(":")
    with_port = [f"{name}_{port}_"] if colon and name else []
    return [*with_port, registry, "_default"]


def _load(folder: Path, last: Host) -> list[Host]:
    file = folder / "hosts.toml"
    if not file.exists() or not file.stat().st_size:
        return [_docker_files(folder, last)]
    try:
        table = tomllib.loads(file.read_text())
        found = [_host(url, settings, folder) for url, settings in table.get("host", {}).items()]
        server = table.get("server", "")
        found.append(_host(server, table, folder) if server else _settings(last, table, folder))
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidArgument(f"failed to decode {file}: {error}") from error
    return found


def _docker_files(folder: Path, last: Host) -> Host:
    pairs = []
    for cert in sorted(folder.glob("*.cert")):
        key = cert.with_suffix(".key")
        pairs.append((str(cert), str(key) if key.exists() else ""))
    return replace(last, ca=tuple(map(str, sorted(folder.glob("*.crt")))), client=tuple(pairs))


def _host(url: str, table: dict[str, Any], folder: Path) -> Host:
    parts = urlsplit(url if url.startswith("http") else f"https://{url}")
    path = normpath(parts.path) if parts.path else ""
    override = table.get("override_path", False)
    if not override and not path.endswith("/v2"):
        path = path.rstrip("/") + "/v2"
    return _settings(Host(parts.scheme, parts.netloc, path), table, folder)


def _settings(host: Host, table: dict[str, Any], folder: Path) -> Host:
    capabilities = frozenset(str(name).lower() for name in table.get("capabilities", ())) or CAPABILITIES
    if unknown := capabilities - CAPABILITIES:
        raise ValueError(f"unknown capability {min(unknown)}")
    headers = table.get("header", {}).items()
    clients = _list(table.get("client", ()))
    return replace(
        host,
        capabilities=capabilities,
        ca=tuple(str(folder / name) for name in _list(table.get("ca", ()))),
        client=tuple(_pair(item, folder) for item in clients),
        skip_verify=bool(table.get("skip_verify", host.skip_verify)),
        header=tuple((key, value) for key, values in headers for value in _list(values)),
        timeout=_seconds(table["dial_timeout"]) if table.get("dial_timeout") else None,
    )


def _list(value: Any) -> list[Any]:
    return [value] if isinstance(value, str) else list(value)


def _pair(item: str | list[str], folder: Path) -> tuple[str, str]:
    if isinstance(item, str):
        return str(folder / item), ""
    certificate, key = item
    return str(folder / certificate), str(folder / key) if key else ""


def _seconds(text: str) -> float:
    """Go's notation of a duration.

    >>> _seconds("1m1.5s")
    61.5
    """
    parts = re.findall(r"([0-9.]+)(ns|us|µs|ms|s|m|h)", text)
    if "".join(map("".join, parts)) != text:
        raise ValueError(f"invalid duration {text!r}")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
