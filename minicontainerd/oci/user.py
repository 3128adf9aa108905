"""Who a container's process is: ``--user`` and the image's ``User``, resolved in the image's own files.

A user is written ``user``, ``user:group``, ``uid`` or ``uid:gid``. Names are looked up in the root filesystem's
/etc/passwd and /etc/group, never in the host's; a number needs no entry there.
Source: containerd@301026e pkg/oci/spec_opts.go, ``WithUser`` and ``WithAdditionalGIDs``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from minicontainerd.errors import InvalidArgument, NotFound

MAX_ID = 2**32 - 1


@dataclass(frozen=True)
class User:
    """Numbers, as a runtime spec wants them."""

    uid: int
    gid: int
    additional: tuple[int, ...] = ()


def resolve(text: str, passwd: str, group: str) -> User:
    """Who *text* means, given the text of the two files; an empty *text* is root.

    >>> resolve("app", "root:x:0:0::/:\\napp:x:7:8::/:", "wheel:x:9:app")
    User(uid=7, gid=8, additional=(9,))
    >>> resolve("5:wheel", "", "wheel:x:9:")
    User(uid=5, gid=9, additional=())

    Raises:
        NotFound: a name is not in the files.
        InvalidArgument: *text* is not of the form above, or a number is too large.
    """
    name, _, group_name = (text or "0").partition(":")
    if not name or ":" in group_name or (text.endswith(":")):
        raise InvalidArgument(f"invalid USER value {text}")
    entry = next((each for each in _entries(passwd, 4) if name in (each[0], each[2])), None)
    if name.isdecimal():
        uid = _number(name)
    elif entry is not None:
        uid = _number(entry[2])
    else:
        raise NotFound(f"no users found: user {name!r} in /etc/passwd of the container")
    gid = _number(entry[3]) if entry is not None else 0
    if group_name:
        gid = _group(group_name, group)
    known_as = entry[0] if entry is not None else name
    more = {_number(each[2]) for each in _entries(group, 4) if known_as in each[3].split(",")} - {gid}
    return User(uid, gid, tuple(sorted(more)))


def _group(name: str, group: str) -> int:
    if name.isdecimal():
        return _number(name)
    for each in _entries(group, 4):
        if each[0] == name:
            return _number(each[2])
    raise NotFound(f"no groups found: group {name!r} in /etc/group of the container")


def _entries(text: str, columns: int) -> Iterator[list[str]]:
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) >= columns and not line.startswith("#"):
            yield fields


def _number(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise InvalidArgument(f"{text!r} is no user or group number") from None
    if not 0 <= number <= MAX_ID:
        raise InvalidArgument(f"{number} is no user or group number")
    return number
