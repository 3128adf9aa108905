"""Flags that become a piece of the config: the process for ``exec``, the limits for ``update``.

Both can also come as JSON, in a file: ``--process``, ``--resources``. Then other flags say nothing. The words for a
value that cannot be read are those of Go's packages, which the callers of runc have seen.

Source: runc@76d9cf5 exec.go ``getProcess``, update.go; docker/go-units size.go for sizes.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from ..errors import InvalidArgument, NotFound, Unimplemented
from ..oci import shape
from . import validate
from .words import reason

if TYPE_CHECKING:
    from ..oci.runtime import Process, Resources, User
    from .flags import Flags
    from .state import Container

_PARSED_AS = {"number": "strconv.ParseInt", "natural": "strconv.ParseUint"}
_REAL_TIME = ("cpu-rt-period", "cpu-rt-runtime")
_CACHE = ("l3-cache-schema", "mem-bw-schema")

UPDATE = {
    "blkio-weight": ("flag", "blockIO", "weight"),
    "cpu-period": ("natural", "cpu", "period"),
    "cpu-quota": ("number", "cpu", "quota"),
    "cpu-burst": ("natural", "cpu", "burst"),
    "cpu-share": ("natural", "cpu", "shares"),
    "cpu-idle": ("number", "cpu", "idle"),
    "memory": ("size", "memory", "limit"),
    "memory-reservation": ("size", "memory", "reservation"),
    "memory-swap": ("size", "memory", "swap"),
    "pids-limit": ("flag", "pids", "limit"),
}
"""Flags of update: how each is read, and where it goes in the config's ``resources``."""


def resources(flags: Flags) -> Resources:
    """The limits that ``update`` is asked for.

    Raises:
        InvalidArgument: a value cannot be read.
        Unimplemented: version 2 of cgroups has no such limit, or there is no resctrl.
    """
    if source := flags.value("resources"):
        try:
            loaded: Resources = shape.read(sys.stdin.read() if source == "-" else _read(source), "Resources")
        except InvalidArgument as error:
            raise InvalidArgument(f"resources: {error.args[0]}") from error
        return loaded
    for flag in (*_REAL_TIME, *_CACHE):
        if flags.value(flag):
            missing = "cgroups of version 2 have no such limit" if flag in _REAL_TIME else "resctrl is not driven here"
            raise Unimplemented(f"--{flag}: {missing}")
    found: Resources = {}
    for flag, (kind, group, key) in UPDATE.items():
        number = flags.number(flag) if kind == "flag" else _number(flag, flags.value(flag), kind)
        if number is not None:
            found.setdefault(group, {})[key] = number  # type: ignore[misc]
    for word in ("cpus", "mems"):
        if value := flags.value(f"cpuset-{word}"):
            found.setdefault("cpu", {})[word] = value
    return found


def process(container: Container, flags: Flags, words: list[str]) -> Process:
    """The process for ``exec``: of the file, or the container's own with what the flags change.

    Raises:
        InvalidArgument: a value cannot be read, or there is no program.
        NotFound: the file is not there.
    """
    if path := flags.value("process"):
        return validate.parse_process(_read(path))
    if not words:
        raise InvalidArgument("process args cannot be empty")
    found = container.config["process"].copy()
    found["args"] = words
    found["terminal"] = flags.on("tty")
    found["env"] = [*(found.get("env") or []), *flags.many("env")]
    if cwd := flags.value("cwd"):
        found["cwd"] = cwd
    if profile := flags.value("apparmor"):
        found["apparmorProfile"] = profile
    if label := flags.value("process-label"):
        found["selinuxLabel"] = label
    if flags.on("no-new-privs"):
        found["noNewPrivileges"] = True
    found["user"] = _user(found.get("user", {}).copy(), flags)
    if more := flags.many("cap"):
        sets = found.get("capabilities", {})
        found["capabilities"] = {
            **sets,
            "bounding": [*sets.get("bounding", []), *more],
            "effective": [*sets.get("effective", []), *more],
            "permitted": [*sets.get("permitted", []), *more],
        }
    return found


def _user(user: User, flags: Flags) -> User:
    if text := flags.value("user"):
        uid, _, gid = text.partition(":")
        user["uid"] = _id("uid", uid)
        if gid:
            user["gid"] = _id("gid", gid)
    if groups := flags.many("additional-gids"):
        user["additionalGids"] = [*(user.get("additionalGids") or []), *(_id("gid", each) for each in groups)]
    return user


def _id(kind: str, text: str) -> int:
    if not text.isdecimal():
        wrong = f'strconv.Atoi: parsing "{text}": invalid syntax'
        raise InvalidArgument(f"parsing {text} as int for {kind} failed: {wrong}")
    return int(text)


def _number(flag: str, text: str, kind: str) -> int | None:
    if not text:
        return None
    if kind == "size":
        return _size(flag, text)
    if not re.fullmatch(r"\d+" if kind == "natural" else r"-?\d+", text):
        raise InvalidArgument(f'invalid value for {flag}: {_PARSED_AS[kind]}: parsing "{text}": invalid syntax')
    return int(text)


def _size(flag: str, text: str) -> int:
    """Bytes, from a number with a unit of powers of 1024; -1 is no limit.

    >>> _size("memory", "64m"), _size("memory", "1.5GiB"), _size("memory", "-1")
    (67108864, 1610612736, -1)
    """
    if text == "-1":
        return -1
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?", text.lower())
    if not found:
        raise InvalidArgument(f"invalid value for {flag}: invalid size: '{text}'")
    return int(float(found[1]) * 1024 ** " kmgtp".index(found[2] or " "))


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise NotFound(f"open {path}: {reason(error)}") from error
