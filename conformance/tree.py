"""Compare two directory trees entry by entry: whatever lstat(2), readlink(2) and listxattr(2) can tell.

A tree is read into a dictionary from path to :class:`Node`; two trees are equal if their dictionaries are. Link counts
are not compared as numbers, because a name outside of the tree counts too, but as groups: which names are one file.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

# What overlayfs writes for itself into its upper directory; through the mount it does not show.
PRIVATE = ("trusted.overlay.origin", "trusted.overlay.impure", "trusted.overlay.nlink", "trusted.overlay.uuid")


@dataclass(frozen=True)
class Node:
    """One entry. *content* is the digest of a file, the target of a link, the numbers of a device."""

    type: str
    mode: str
    owner: str
    content: str
    size: int
    mtime: int  # nanoseconds
    xattrs: tuple[tuple[str, bytes], ...]
    same: tuple[str, ...]  # all names of this file, if it has several


def _content(path: Path, found: os.stat_result) -> str:
    if stat.S_ISLNK(found.st_mode):
        return os.readlink(path)
    if stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode):
        return f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
    if stat.S_ISREG(found.st_mode):
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return ""


def _xattrs(path: Path) -> tuple[tuple[str, bytes], ...]:
    keys = sorted(key for key in os.listxattr(path, follow_symlinks=False) if key not in PRIVATE)
    return tuple((key, os.getxattr(path, key, follow_symlinks=False)) for key in keys)


def _names(names: list[str]) -> tuple[str, ...]:
    return tuple(sorted(names)) if len(names) > 1 else ()  # the other names may be outside of the tree


def read(root: Path) -> dict[str, Node]:
    """Everything below *root*, and ``.`` for itself."""
    stats = {".": os.lstat(root)}
    for directory, names, files in os.walk(root):
        for name in (*names, *files):
            path = os.path.join(directory, name)
            stats[os.path.relpath(path, root)] = os.lstat(path)
    same = defaultdict(list)
    for name, found in stats.items():
        if found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
            same[found.st_dev, found.st_ino].append(name)
    return {
        name: Node(
            type=stat.filemode(found.st_mode)[0],
            mode=oct(stat.S_IMODE(found.st_mode)),
            owner=f"{found.st_uid}:{found.st_gid}",
            content=_content(root / name, found),
            size=found.st_size if stat.S_ISREG(found.st_mode) else 0,
            mtime=found.st_mtime_ns,
            xattrs=_xattrs(root / name),
            same=_names(same.get((found.st_dev, found.st_ino), [])),
        )
        for name, found in sorted(stats.items())
    }


def differences(
    left: dict[str, Node], right: dict[str, Node], *, ignore: Iterable[str] = (), no_times: Iterable[str] = (".",)
) -> list[str]:
    """What differs, one line each; *ignore* names fields, *no_times* entries whose modification time says nothing."""
    lines, skipped = [], set(ignore)
    timeless = set(no_times)
    for name in sorted(left.keys() | right.keys()):
        if name not in left or name not in right:
            lines.append(f"{name}: only {'left' if name in left else 'right'}")
            continue
        one, other = asdict(left[name]), asdict(right[name])
        for field in one:
            if field in skipped or (field == "mtime" and name in timeless):
                continue
            if one[field] != other[field]:
                lines.append(f"{name}: {field} {one[field]!r} != {other[field]!r}")
    return lines
