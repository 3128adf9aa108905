"""The protocol from the plugin's side: read what is asked, do it, print what came of it.

A plugin is up to five functions, put together at the end of its file::

    PLUGIN = Plugin("bridge", add=add, delete=delete, check=check, collect=collect, status=status)
    if __name__ == "__main__":
        PLUGIN.main()

Each function gets a :class:`Request`. ``add`` returns a result; the others return nothing if all is well. What goes
wrong is raised: as a :class:`PluginError` with a number, or as anything else, which becomes number 999 with its words.
One that raises nothing of its own is not caught: a traceback on standard error and exit code 1 say "broken".

:meth:`Plugin.answer` is the same without a process, for callers in Python. :func:`delegate` is how a plugin runs
another one (its IPAM) on its own request: through CNI_PATH, as the specification says, and as a call if what it finds
there is ours.

Source: cni@3f51e88 SPEC.md sections 2 and 4, pkg/skel/skel.go.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn, TypeVar

from ... import __version__
from ...errors import ContainerdError, InvalidArgument, NotFound
from ...linux.ifname import check_ifname
from .. import execute
from ..failure import (
    INCOMPATIBLE_VERSION,
    INVALID_CONFIG,
    INVALID_ENVIRONMENT,
    OTHER,
    UNDECODABLE,
    PluginError,
)
from ..launcher import is_ours
from ..names import is_name
from ..result import Result, read, written
from ..versions import SUPPORTED, at_least

T = TypeVar("T")
Config = Mapping[str, Any]

_REQUIRED = {
    "ADD": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "DEL": ("CNI_CONTAINERID", "CNI_IFNAME"),
    "CHECK": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "GC": (),
    "STATUS": (),
    "VERSION": (),
}
_SINCE = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}


class Request(NamedTuple):
    """What one call of a plugin is about. *previous* is the result before it, in the newest form."""

    command: str
    config: Config
    version: str
    network: str
    container_id: str = ""
    netns: str = ""
    ifname: str = ""
    args: Mapping[str, str] = {}
    path: tuple[str, ...] = ()
    previous: Result | None = None
    environment: Mapping[str, str] = {}

    @property
    def runtime(self) -> Config:
        """The arguments that the runtime passed because the configuration asked for them."""
        return get(self.config, "runtimeConfig", dict, {})

    @property
    def valid(self) -> list[tuple[str, str]]:
        """Of GC: the attachments that there are, as pairs of container and interface."""
        listed = self.config.get("cni.dev/valid-attachments", self.config.get("cni.dev/attachments")) or []
        return [(str(each["containerID"]), str(each["ifname"])) for each in listed]

    def needed_previous(self) -> Result:
        """The result before it.

        Raises:
            PluginError: there is none; the plugin works only in a chain, or CHECK was told nothing.
        """
        if self.previous is None:
            raise PluginError(INVALID_CONFIG, "prevResult is missing; this plugin must come after another in a list")
        return self.previous


def _nothing(request: Request) -> None:
    """What a plugin does that has nothing to do."""


class Plugin(NamedTuple):
    """A plugin: its name, and a function for each command."""

    name: str
    add: Callable[[Request], Result]
    delete: Callable[[Request], None] = _nothing
    check: Callable[[Request], None] = _nothing
    collect: Callable[[Request], None] = _nothing
    status: Callable[[Request], None] = _nothing

    def main(self) -> NoReturn:
        """Serve one call as a program: environment and standard input in, standard output and exit code out."""
        environment = {key: value for key, value in os.environ.items() if key.startswith("CNI_")}
        if not environment.get("CNI_COMMAND"):
            versions = ", ".join(SUPPORTED)
            print(f"CNI plugin {self.name} of minicontainerd v{__version__}", file=sys.stderr)
            print(f"CNI protocol versions supported: {versions}", file=sys.stderr)
            sys.exit(0)
        version, code = SUPPORTED[-1], 0
        try:
            config = {} if environment["CNI_COMMAND"] == "VERSION" else _decode(sys.stdin.buffer.read())
            version = str(config.get("cniVersion") or version)
            said = self.answer(environment, config)
            output = b"" if said is None else json.dumps(said, indent=4).encode() + b"\n"
        except PluginError as error:
            output, code = error.as_json(version), 1
        sys.stdout.buffer.write(output)
        sys.stdout.flush()
        os._exit(code)  # taking an interpreter down in good order takes as long as a tenth of the work

    def answer(self, environment: Mapping[str, str], config: Config) -> Any:
        """Serve one call; gives what is to be printed, or None.

        Raises:
            PluginError: whatever went wrong.
        """
        if environment.get("CNI_COMMAND") == "VERSION":
            return {"cniVersion": config.get("cniVersion") or SUPPORTED[-1], "supportedVersions": list(SUPPORTED)}
        try:
            return self._serve(_request(environment, config))
        except PluginError as error:
            error.plugin = error.plugin or self.name
            raise
        except (ContainerdError, OSError) as error:
            raise PluginError(OTHER, str(error), plugin=self.name) from error

    def _serve(self, request: Request) -> Any:
        if request.command == "ADD":
            return written(self.add(request), request.version)
        functions = {"DEL": self.delete, "CHECK": self.check, "GC": self.collect, "STATUS": self.status}
        functions[request.command](request)
        return None


def get(config: Config, key: str, kind: type[T], default: T) -> T:
    """The value of *key*, which must be of this *kind*; null means that it is not there.

    Raises:
        PluginError: it is something else. Key and value are told.
    """
    value = config.get(key)
    if value is None:
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise PluginError(INVALID_CONFIG, f"{key} must be {kind.__name__}, not {json.dumps(value)}")
    return value


def load(name: str) -> Plugin:
    """The plugin of ours that is called *name*."""
    module = importlib.import_module(f"{__package__}.{name.replace('-', '_')}")
    plugin = module.PLUGIN
    assert isinstance(plugin, Plugin)
    return plugin


def called(program: str, environment: Mapping[str, str], request: Config, seconds: float = execute.SECONDS) -> Any:
    """Run a plugin: by a call, if *program* is what our installation puts there, and as a process if not."""
    if is_ours(program):
        return load(os.path.basename(program)).answer(environment, request)
    return execute.execute(program, environment, request, seconds=seconds)


def delegate(request: Request, kind: str, command: str = "") -> Result | None:
    """Run the plugin called *kind* on this request, as section 4 of the specification describes; gives its result.

    *command* is another one than the request's: DEL, to undo.

    Raises:
        PluginError: it failed, or is in no folder of CNI_PATH.
    """
    environment = {**request.environment, **({"CNI_COMMAND": command} if command else {})}
    try:
        program = execute.find(kind, request.path)
    except NotFound as error:
        raise PluginError(OTHER, str(error)) from error
    if is_ours(program):
        said = load(kind).answer(environment, request.config)
    else:
        said = execute.execute(program, environment, request.config, own_stderr=False)
    if environment["CNI_COMMAND"] != "ADD":
        return None
    try:
        return read(said, request.version)
    except InvalidArgument as error:
        raise PluginError(UNDECODABLE, f"its result is none: {error}", plugin=kind) from error


def _decode(data: bytes) -> Config:
    try:
        config = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise PluginError(UNDECODABLE, f"the configuration on standard input is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise PluginError(UNDECODABLE, "the configuration on standard input is not a JSON object")
    return config


def _request(environment: Mapping[str, str], config: Config) -> Request:
    """Everything that is said, looked at once, so that no plugin needs to again."""
    command = environment.get("CNI_COMMAND", "")
    if command not in _REQUIRED:
        raise PluginError(INVALID_ENVIRONMENT, f"unknown CNI_COMMAND: {command}")
    missing = [name for name in _REQUIRED[command] if not environment.get(name)]
    if missing:
        raise PluginError(INVALID_ENVIRONMENT, f"required env variables [{','.join(missing)}] missing")
    container_id, ifname = environment.get("CNI_CONTAINERID", ""), environment.get("CNI_IFNAME", "")
    if container_id and not is_name(container_id):
        raise PluginError(INVALID_ENVIRONMENT, f"CNI_CONTAINERID {container_id!r} is not a container's id")
    if ifname:
        try:
            check_ifname(ifname)
        except InvalidArgument as error:
            raise PluginError(INVALID_ENVIRONMENT, f"CNI_IFNAME: {error}") from error
    version, network = _identify(command, config)
    return Request(
        command=command,
        config=config,
        version=version,
        network=network,
        container_id=container_id,
        netns=environment.get("CNI_NETNS", ""),
        ifname=ifname,
        args=_arguments(environment.get("CNI_ARGS", "")),
        path=tuple(part for part in environment.get("CNI_PATH", "").split(os.pathsep) if part),
        previous=_previous(config, version),
        environment=environment,
    )


def _identify(command: str, config: Config) -> tuple[str, str]:
    """The version and the network that the configuration names."""
    version, network = config.get("cniVersion") or "0.1.0", config.get("name")
    if version not in SUPPORTED:
        details = f"the configuration is {json.dumps(version)}, the plugin knows {', '.join(SUPPORTED)}"
        raise PluginError(INCOMPATIBLE_VERSION, "incompatible CNI versions", details)
    if command in _SINCE and not at_least(version, _SINCE[command]):
        raise PluginError(INCOMPATIBLE_VERSION, f"config version {version} does not allow {command}")
    if not isinstance(network, str) or not is_name(network):
        raise PluginError(INVALID_CONFIG, f"the network's name is missing or wrong: {json.dumps(network)}")
    return version, network


def _arguments(text: str) -> dict[str, str]:
    """CNI_ARGS: ``K=V;K2=V2``."""
    pairs = [part.partition("=") for part in text.split(";") if part]
    if any(not separator for _, separator, _ in pairs):
        raise PluginError(INVALID_ENVIRONMENT, f"CNI_ARGS {text!r} is not KEY=VALUE;KEY=VALUE")
    return {key: value for key, _, value in pairs}


def _previous(config: Config, version: str) -> Result | None:
    if not config.get("prevResult"):
        return None
    try:
        return read(config["prevResult"], version)
    except InvalidArgument as error:
        raise PluginError(UNDECODABLE, f"prevResult: {error}") from error
