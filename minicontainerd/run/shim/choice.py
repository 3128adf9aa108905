"""Which runtime a container has: chosen by the client at create, and written down in its bundle.

It has to be written down, for a ``delete`` may come when the shim is gone, and then another process cleans up.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from .command_line import CommandLine
from .driver import Driver, InProcess

if TYPE_CHECKING:
    from ...api.types.runc.options.oci_pb2 import Options

ROOT, OWN_ROOT = "/run/containerd/runc", "/run/containerd/minirunc"
"""Where another runtime, and ours, keeps its containers: one folder a namespace. Never the same for both."""

_FILE = "options.json"
_KEYS = ("binary_name", "root", "systemd_cgroup")


def choose(bundle: str, namespace: str, options: Options) -> Driver:
    """The runtime that *options* ask for, from now on that of *bundle*."""
    chosen = {key: value for key in _KEYS if (value := getattr(options, key))}
    driver = _driver(bundle, namespace, chosen)
    with open(os.path.join(bundle, _FILE), "w", encoding="utf-8") as file:
        json.dump(chosen, file)
    return driver


def chosen(bundle: str, namespace: str) -> Driver:
    """The runtime that made the container of *bundle*; ours, if its create did not get that far."""
    try:
        with open(os.path.join(bundle, _FILE), encoding="utf-8") as file:
            return _driver(bundle, namespace, json.load(file))
    except (OSError, ValueError):
        return _driver(bundle, namespace, {})


def _driver(bundle: str, namespace: str, chosen: dict[str, Any]) -> Driver:
    program, systemd = chosen.get("binary_name"), bool(chosen.get("systemd_cgroup"))
    root = os.path.join(chosen.get("root") or (ROOT if program else OWN_ROOT), namespace)
    if program:
        return CommandLine(program, root, bundle, systemd)
    return InProcess(root, systemd)
