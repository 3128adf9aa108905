"""Call plugins as the specification says, with nothing of ours in between; and see what came of it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conformance.networks import Namespace
from minicontainerd.linux.namespaces import inside

Config = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What a plugin said and how it ended."""

    code: int
    said: Any
    err: str

    @property
    def result(self) -> Any:
        """Of a call that must have worked."""
        assert self.code == 0, f"exit code {self.code}: {self.said} {self.err}"
        return self.said


@dataclass
class Plugins:
    """A folder of plugins, called from the network namespace *host*."""

    path: Sequence[Path]
    host: Namespace
    environment: dict[str, str] = field(default_factory=dict)

    def program(self, kind: str) -> Path:
        """The program of a plugin."""
        for folder in self.path:
            if (folder / kind).exists():
                return folder / kind
        raise FileNotFoundError(f"{kind} in {self.path}")

    def call(self, command: str, config: Config | bytes, **variables: str | None) -> Answer:
        """Run the plugin that *config* names; a variable that is None is not set."""
        kind = config["type"] if isinstance(config, dict) else variables.pop("type")
        assert isinstance(kind, str)
        told = {"CNI_COMMAND": command, "CNI_PATH": os.pathsep.join(map(str, self.path)), **self.environment}
        told |= {f"CNI_{name.upper()}": value for name, value in variables.items() if value is not None}
        told = {key: value for key, value in told.items() if variables.get(key[4:].lower(), "") is not None}
        rest = {key: value for key, value in os.environ.items() if not key.startswith("CNI_")}
        with inside(self.host.descriptor):
            done = subprocess.run(
                [self.program(kind)],
                input=json.dumps(config).encode() if isinstance(config, dict) else config,
                capture_output=True,
                env={**rest, **told},
                timeout=60,
            )
        out = done.stdout.decode().strip()
        return Answer(done.returncode, json.loads(out) if out else None, done.stderr.decode())


@dataclass
class Attached:
    """A container on a network: a list of plugin configurations, and what ADD made of it."""

    plugins: Plugins
    configs: list[Config]
    container: Namespace
    id: str
    ifname: str = "eth0"
    result: Any = None
    netns: str = ""

    def __post_init__(self) -> None:
        self.netns = self.container.path

    def add(self) -> Any:
        """ADD by each plugin, with the result of the one before."""
        result = None
        for config in self.configs:
            told = {**config, **({"prevResult": result} if result is not None else {})}
            result = self._call("ADD", told).result
        self.result = result
        return result

    def delete(self, netns: str | None = None) -> None:
        """DEL by each plugin, last to first."""
        for answer in self.try_delete(netns):
            assert answer.code == 0, answer

    def try_delete(self, netns: str | None = None) -> list[Answer]:
        """The same, however it ends."""
        if netns is not None:
            self.netns = netns
        told = {"prevResult": self.result} if self.result else {}
        return [self._call("DEL", {**config, **told}) for config in reversed(self.configs)]

    def check(self) -> list[Answer]:
        """CHECK by each plugin."""
        return [self._call("CHECK", {**config, "prevResult": self.result}) for config in self.configs]

    def address(self, version: int = 4) -> str:
        """The address that the result tells, without its length."""
        addresses = [str(each["address"]).split("/")[0] for each in self.result["ips"]]
        return next(address for address in addresses if (":" in address) == (version == 6))

    def _call(self, command: str, config: Config) -> Answer:
        return self.plugins.call(command, config, containerid=self.id, netns=self.netns, ifname=self.ifname)
