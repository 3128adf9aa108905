"""The configuration: containerd's file format, with the keys that mean something here.

``config default`` prints what is built in, ``config dump`` what is in force. A file may be of version 2, 3 or 4; a
key that this daemon does not know is an error that names it, since a setting silently ignored is worse than none.
Plugins have tables of their own under ``[plugins."<type>.<id>"]``; each plugin reads its own, see ``builtin``.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import tomli_w

from minicontainerd.errors import InvalidArgument, NotFound

DEFAULT_PATH = "/etc/minicontainerd/config.toml"
VERSIONS = (2, 3, 4)


class Grpc(msgspec.Struct, forbid_unknown_fields=True):
    """The socket; *uid* and *gid* own it. Sizes in bytes."""

    address: str = "/run/minicontainerd/minicontainerd.sock"
    uid: int = 0
    gid: int = 0
    max_recv_message_size: int = 16 << 20
    max_send_message_size: int = 16 << 20


class Debug(msgspec.Struct, forbid_unknown_fields=True):
    """Logging: trace, debug, info, warn, error, fatal or panic."""

    level: str = "info"


class Config(msgspec.Struct, forbid_unknown_fields=True):
    """Everything; *root* survives a reboot, *state* need not."""

    version: int = 2
    root: str = "/var/lib/minicontainerd"
    state: str = "/run/minicontainerd"
    disabled_plugins: list[str] = []
    grpc: Grpc = msgspec.field(default_factory=Grpc)
    debug: Debug = msgspec.field(default_factory=Debug)
    plugins: dict[str, dict[str, Any]] = {}


def load(path: str) -> Config:
    """Read the file at *path*; where it is the default path and missing, the built-in configuration.

    Raises:
        NotFound: there is no such file.
        InvalidArgument: it is no TOML, or a key is unknown or of the wrong type.
    """
    try:
        text = Path(path).read_text()
    except FileNotFoundError:
        if path == DEFAULT_PATH:
            return Config()
        raise NotFound(f"failed to load TOML: {path}") from None
    return parse(text, path)


def parse(text: str, path: str = "config") -> Config:
    """Parse the TOML *text*; *path* is for messages.

    >>> parse('version = 2\\nroot = "/x"').root
    '/x'

    Raises:
        InvalidArgument: see :func:`load`.
    """
    try:
        config = msgspec.convert(tomllib.loads(text), Config)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise InvalidArgument(f"failed to load TOML: {path}: {error}") from None
    if config.version not in VERSIONS:
        raise InvalidArgument(f"{path}: config version {config.version} is not supported, use one of {VERSIONS}")
    return config


def dump(config: Config) -> str:
    """As TOML; what :func:`parse` reads back equal.

    >>> parse(dump(Config())) == Config()
    True
    """
    return tomli_w.dumps(msgspec.to_builtins(config))
