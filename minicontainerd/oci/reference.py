"""References: where an image is, as people write it.

There are two grammars, and mixing them up is a classic mistake::

    registry.example:5000/team/app:1.2@sha256:…      what containerd takes: a host is always there
    alpine                                           what docker takes: short for docker.io/library/alpine:latest

:func:`parse` is the first. It is lax on purpose: whatever looks like host, slash, rest is accepted, split into a
*locator* (``registry.example:5000/team/app``) and an *object* (``1.2@sha256:…``), and a registry says what is wrong
with the rest. :func:`normalise` turns the second grammar into the first, and is strict, as docker is.

Source: containerd@301026e pkg/reference (behaviour, error words); distribution/reference v0.6.0 (docker's grammar).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from minicontainerd.errors import InvalidArgument
from minicontainerd.oci import digest as digests

# What Go's url.Parse refuses in the host part of a URL, as far as names of registries go.
_BAD_HOST = re.compile(r"[\s<>\"\\^`{}|%]")
_PORT = re.compile(r":(?!\d*$)")


@dataclass(frozen=True)
class Reference:
    """An image at a place: *locator* is ``host[:port]/path``, *object* is ``tag``, ``@digest`` or ``tag@digest``."""

    locator: str
    object: str

    @property
    def hostname(self) -> str:
        """The registry, with its port."""
        return self.locator.split("/", 1)[0]

    @property
    def repository(self) -> str:
        """The path at the registry: ``team/app``."""
        return self.locator.partition("/")[2]

    @property
    def tag(self) -> str:
        """The tag, or the empty string."""
        return self.object.partition("@")[0]

    @property
    def digest(self) -> str:
        """The digest, or the empty string. Not validated: that is for whoever uses it."""
        return self.object.partition("@")[2]

    def __str__(self) -> str:
        if not self.object:
            return self.locator
        return self.locator + ("" if self.object.startswith("@") else ":") + self.object


def parse(text: str) -> Reference:
    """Split a full reference into locator and object.

    >>> parse("localhost:5000/app:1@sha256:0")
    Reference(locator='localhost:5000/app', object='1@sha256:0')
    >>> parse("docker.io/library/alpine")
    Reference(locator='docker.io/library/alpine', object='')

    Raises:
        InvalidArgument: there is a scheme (``invalid reference``) or no host (``hostname required``).
    """
    if "://" in text or any(ord(character) < 0x20 or character == "\x7f" for character in text):
        raise InvalidArgument(f"{text!r}: invalid reference")
    host, slash, rest = text.partition("/")
    if not host or host.startswith((":", "@")):
        raise InvalidArgument(f"{text!r}: hostname required")
    bare = host.rpartition("@")[2]  # what stands before it would be user and password in a URL
    if _BAD_HOST.search(host) or (not bare.startswith("[") and _PORT.search(bare)):
        raise InvalidArgument(f"{text!r}: invalid reference")
    cut = re.search("[:@]", rest)
    path, obj = (rest[: cut.start()], rest[cut.start() :].removeprefix(":")) if cut else (rest, "")
    path = _clean(path)
    return Reference(bare + (slash and path and "/" + path), obj)


def _clean(path: str) -> str:
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_TAG = re.compile(r"[\w][\w.-]{0,127}", re.ASCII)


def normalise(name: str, *, default_tag: bool = True) -> str:
    """Turn a familiar name into a full reference, as ``docker pull`` does.

    >>> normalise("alpine")
    'docker.io/library/alpine:latest'
    >>> normalise("ghcr.io/x/y@sha256:" + 64 * "0")[:20]
    'ghcr.io/x/y@sha256:0'

    Raises:
        InvalidArgument: a part breaks the docker grammar; the message says which.
    """
    if re.fullmatch("[a-f0-9]{64}", name):
        raise InvalidArgument(f"invalid repository name ({name}), cannot specify 64-byte hexadecimal strings")
    named, at, digest = name.partition("@")
    if at:
        digests.validate(digest)
    first, slash, rest = named.partition("/")
    if not slash or not (set(".:") & set(first) or first == "localhost" or first != first.lower()):
        first, rest = "docker.io", named
    first = "docker.io" if first == "index.docker.io" else first
    path, colon, tag = rest.partition(":")
    if path != path.lower():
        raise InvalidArgument(f"invalid reference format: repository name ({path}) must be lowercase")
    if not _DOMAIN.fullmatch(first) or not _PATH.fullmatch(path) or (colon and not _TAG.fullmatch(tag)):
        raise InvalidArgument(f"{name!r}: invalid reference format")
    if first == "docker.io" and "/" not in path:
        path = f"library/{path}"
    if len(f"{first}/{path}") > 255:
        raise InvalidArgument("repository name must not be more than 255 characters")
    if not colon and not at and default_tag:
        colon, tag = ":", "latest"
    return f"{first}/{path}{colon}{tag}{at}{digest}"


def familiar(reference: str) -> str:
    """The short form of a full reference: the inverse of :func:`normalise`, which keeps the tag.

    >>> familiar("docker.io/library/alpine:latest")
    'alpine:latest'
    """
    return (
        reference.removeprefix("docker.io/").removeprefix("library/")
        if reference.startswith("docker.io/")
        else reference
    )
