"""Network configurations: the files an administrator writes, and what of them each plugin is given.

A network is a name and a list of plugins to run one after the other::

    /etc/cni/net.d/10-web.conflist     {"cniVersion": "1.1.0", "name": "web", "plugins": [{"type": "bridge", ...}, ...]}
    /etc/cni/net.d/20-old.conf         {"cniVersion": "0.4.0", "name": "old", "type": "ptp", ...}   a list of one
    /etc/cni/net.d/web/90-more.conf    {"type": "tuning", ...}      one more plugin for web, added at the end

Files are taken in the order of their names. What a plugin gets on its standard input is its own object from the list
with the network's name and the chosen version put in; :func:`request` adds what belongs to one attachment. Keys that
we do not know go through untouched: they are the plugin's business.

Source: cni@3f51e88 SPEC.md, sections 1 and 3; libcni/conf.go.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InvalidArgument, NotFound
from .names import is_name
from .result import Result
from .versions import choose

FOLDER = "/etc/cni/net.d"

PluginConfig = dict[str, Any]

DEFAULT = {
    "cniVersion": "1.0.0",
    "cniVersions": ["0.4.0", "1.0.0", "1.1.0"],
    "name": "minicontainerd",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "mini0",
            "isGateway": True,
            "ipMasq": True,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": "10.89.0.0/16"}], [{"subnet": "fd89:6d69:6e69::/64"}]],
                "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
            },
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
        {"type": "firewall"},
    ],
}
"""A network for whoever has none: a switch, addresses of both kinds, the host's address outside, published ports."""


@dataclass(frozen=True)
class Network:
    """One network, ready to be carried out: every plugin object has a type, every name is safe."""

    name: str
    version: str
    plugins: tuple[PluginConfig, ...]
    disable_check: bool = False
    disable_gc: bool = False
    file: str = ""

    def as_json(self) -> bytes:
        """The network as a configuration file that says all of it: plugins found elsewhere are in the list as well."""
        told = {"cniVersion": self.version, "name": self.name, "plugins": self.plugins}
        flags = {"disableCheck": self.disable_check, "disableGC": self.disable_gc}
        return json.dumps({**told, **{key: value for key, value in flags.items() if value}}).encode()


def networks(folder: str | os.PathLike[str] = FOLDER) -> list[Network]:
    """Every network configured in *folder*, in the order of the files' names.

    Raises:
        InvalidArgument: a file is not a network configuration; the message names the file.
    """
    return [load(path) for path in files(folder)]


def files(folder: str | os.PathLike[str]) -> list[Path]:
    """The files in *folder* that describe networks. A folder that is not there has none."""
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    paths = [Path(folder, name) for name in names if name.endswith((".conf", ".conflist", ".json"))]
    return [path for path in paths if path.is_file()]


def find(name: str, folder: str | os.PathLike[str] = FOLDER) -> Network:
    """The network called *name*; a broken file of another network does not matter.

    Raises:
        NotFound: no file of *folder* describes it.
    """
    broken = []
    for path in files(folder):
        try:
            network = load(path)
        except InvalidArgument as error:
            broken.append(str(error))
            continue
        if network.name == name:
            return network
    also = f" (and these cannot be read: {'; '.join(broken)})" if broken else ""
    raise NotFound(f'network "{name}" in {os.fspath(folder)}{also}')


def load(path: str | os.PathLike[str]) -> Network:
    """The network that the file *path* describes, with the plugins of the folder named after it.

    Raises:
        InvalidArgument: it is not a network configuration.
    """
    try:
        raw = Path(path).read_bytes()
        more = [] if _is_single(raw) else _read_more(Path(path).parent, raw)
        return parse(raw, more, file=os.fspath(path))
    except InvalidArgument as error:
        raise InvalidArgument(f"{os.fspath(path)}: {error}") from error


def parse(raw: bytes, more: Sequence[PluginConfig] = (), file: str = "") -> Network:
    """The network that the JSON *raw* describes; *more* are plugins found elsewhere, to be added at the end.

    Raises:
        InvalidArgument: it is not a network configuration.
    """
    data = _object(raw)
    if "plugins" not in data and "type" in data:  # the form of one plugin, which 1.0.0 dropped and people still have
        data = {**{key: data[key] for key in ("name", "cniVersion") if key in data}, "plugins": [data]}
    name = data.get("name")
    if not is_name(name):
        raise InvalidArgument(f"the network's name {name!r} must be letters, digits, '_', '.' or '-'")
    only_inlined = _boolean(data, "loadOnlyInlinedPlugins")
    if only_inlined and "plugins" not in data:
        raise InvalidArgument(f"network {name}: loadOnlyInlinedPlugins is true, and there are no plugins inlined")
    plugins = data.get("plugins", [])
    if not isinstance(plugins, list):
        raise InvalidArgument(f"network {name}: plugins must be a list")
    plugins = [*plugins, *([] if only_inlined else more)]
    if not plugins:
        raise InvalidArgument(f"network {name}: there are no plugins in it")
    return Network(
        name=name,
        version=_version(data),
        plugins=tuple(_plugin(each) for each in plugins),
        disable_check=_boolean(data, "disableCheck"),
        disable_gc=_boolean(data, "disableGC"),
        file=file,
    )


def write_default(folder: str | os.PathLike[str] = FOLDER) -> Path | None:
    """Configure a network in *folder* if none is configured there; gives the file, or None."""
    if files(folder):
        return None
    Path(folder).mkdir(mode=0o755, parents=True, exist_ok=True)
    path = Path(folder, "10-minicontainerd.conflist")
    path.write_text(json.dumps(DEFAULT, indent=2) + "\n")
    return path


def request(
    network: Network,
    plugin: PluginConfig,
    *,
    capability_args: Mapping[str, Any] | None = None,
    previous: Result | None = None,
) -> PluginConfig:
    """What the *plugin* of the *network* is given on its standard input.

    *capability_args* are what the caller can tell of one attachment; a plugin gets those whose names its
    ``capabilities`` ask for. *previous* is the result before it, already in the network's version.
    """
    derived = {key: value for key, value in plugin.items() if key != "capabilities" and not key.startswith("cni.dev/")}
    derived |= {"cniVersion": network.version, "name": network.name}
    wanted = [name for name, is_wanted in plugin.get("capabilities", {}).items() if is_wanted is True]
    told = {name: capability_args[name] for name in wanted if capability_args and name in capability_args}
    if told:
        derived["runtimeConfig"] = told
    if previous is not None:
        derived["prevResult"] = previous
    return derived


def _is_single(raw: bytes) -> bool:
    data = _object(raw)
    return "plugins" not in data and "type" in data


def _read_more(folder: Path, raw: bytes) -> list[PluginConfig]:
    name = _object(raw).get("name")
    if not is_name(name) or not (folder / name).is_dir():
        return []
    return [_object(path.read_bytes()) for path in sorted((folder / name).glob("*.conf"))]


def _object(raw: bytes) -> dict[str, Any]:
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"it is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise InvalidArgument("it is not a JSON object")
    return data


def _version(data: Mapping[str, Any]) -> str:
    offered = data.get("cniVersions", [])
    one = data.get("cniVersion")
    if not isinstance(offered, list) or not all(isinstance(each, str) for each in [*offered, one or ""]):
        raise InvalidArgument("cniVersion must be a string, and cniVersions a list of strings")
    if not offered and not one:
        one = "0.1.0"  # what a configuration meant before it had to say
    return choose([*offered, one] if one else offered)


def _boolean(data: Mapping[str, Any], key: str) -> bool:
    """A boolean, which libcni also takes as a string."""
    value = data.get(key, False)
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise InvalidArgument(f"{key} must be true or false, not {value!r}")
    return value


def _plugin(data: Any) -> PluginConfig:
    kind = data.get("type") if isinstance(data, dict) else None
    if not isinstance(kind, str) or not kind:
        raise InvalidArgument(f"a plugin must be an object with a type: {data!r}")
    if "/" in kind or "\0" in kind or kind in (".", ".."):
        raise InvalidArgument(f"a plugin's type is the name of a file, which {kind!r} cannot be")
    if not isinstance(data.get("capabilities", {}), dict):
        raise InvalidArgument(f"plugin {kind}: capabilities must be an object")
    return dict(data)
