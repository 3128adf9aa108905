"""What a plugin says when it fails: a number that means something, a sentence, and more sentences.

::

    {"cniVersion": "1.1.0", "code": 7, "msg": "no such range", "details": "..."}      on standard output

The specification says standard error in one place and standard output in another; every plugin and every caller uses
standard output. One class serves both sides: our plugins raise it, and our library raises what it read from theirs.

Source: cni@3f51e88 SPEC.md, "Error".
"""

from __future__ import annotations

import json
from typing import Any

from ..errors import Unknown

INCOMPATIBLE_VERSION = 1
UNSUPPORTED_FIELD = 2
UNKNOWN_CONTAINER = 3
INVALID_ENVIRONMENT = 4
IO_FAILURE = 5
UNDECODABLE = 6
INVALID_CONFIG = 7
TRY_AGAIN = 11
NOT_AVAILABLE = 50
LIMITED_CONNECTIVITY = 51
OTHER = 999  # what the reference plugins say when an error has no number of its own

MEANINGS = {
    INCOMPATIBLE_VERSION: "incompatible CNI version",
    UNSUPPORTED_FIELD: "unsupported field in the network configuration",
    UNKNOWN_CONTAINER: "the container is not known",
    INVALID_ENVIRONMENT: "an environment variable is missing or wrong",
    IO_FAILURE: "input or output failed",
    UNDECODABLE: "what was sent cannot be decoded",
    INVALID_CONFIG: "invalid network configuration",
    TRY_AGAIN: "not now; try again later",
    NOT_AVAILABLE: "the plugin cannot add containers now",
    LIMITED_CONNECTIVITY: "the plugin cannot add containers, and those there are may be cut off",
}
"""The numbers below 100 are the specification's; those from 100 on belong to each plugin."""


class PluginError(Unknown):
    """A plugin's failure. *plugin* is its name, once that is known."""

    def __init__(self, code: int, msg: str, details: str = "", plugin: str = "") -> None:
        super().__init__(msg)
        self.code_of_plugin = code
        self.msg = msg
        self.details = details
        self.plugin = plugin

    def __str__(self) -> str:
        """In one sentence.

        >>> str(PluginError(7, "no range", "10.0.0.0/31 is too small", plugin="host-local"))
        'CNI plugin host-local: no range; 10.0.0.0/31 is too small (code 7: invalid network configuration)'
        """
        meaning = MEANINGS.get(self.code_of_plugin)
        number = f"code {self.code_of_plugin}: {meaning}" if meaning else f"code {self.code_of_plugin}"
        details = f"; {self.details}" if self.details else ""
        return f"CNI plugin {self.plugin or '(this one)'}: {self.msg}{details} ({number})"

    def as_json(self, version: str) -> bytes:
        """What a plugin prints."""
        said = {"cniVersion": version, "code": self.code_of_plugin, "msg": self.msg}
        return json.dumps({**said, "details": self.details} if self.details else said, indent=4).encode() + b"\n"


def from_json(data: Any, plugin: str) -> PluginError | None:
    """The failure that *data*, decoded JSON, describes; None if it describes none."""
    if not isinstance(data, dict):
        return None
    code, msg, details = data.get("code"), data.get("msg", ""), data.get("details", "")
    if type(code) is not int or not isinstance(msg, str) or not isinstance(details, str):
        return None
    return PluginError(code, msg or "it failed and gave no reason", details, plugin)
