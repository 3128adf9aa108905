"""minirunc with some of its guards taken out, so that the tests of attacks can prove that they would see them missing.

``python -m conformance.runtime.unguarded GUARD,...  ARGUMENTS...`` is ``minirunc ARGUMENTS...`` without these guards.
It is for tests alone.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from minicontainerd.linux import kernel_file, paths, process
from minicontainerd.run import child, main, rootfs, shelter


def nothing(*_: Any, **__: Any) -> None:
    """What a guard does that is not there."""


def replace(module: ModuleType, *names: str, by: Callable[..., Any] = nothing) -> None:
    """Have the functions *names* of *module* do something else."""
    for name in names:
        setattr(module, name, by)


def by_name_alone(root: int, path: str, flags: int = os.O_PATH, mode: int = 0) -> int:
    """Open *path* in *root* as a program does that joins strings."""
    return os.open(f"{os.readlink(paths.through(root))}/{path}", flags | os.O_CLOEXEC, mode)


def write_by_name(name: str, text: str) -> None:
    """Write to whatever is at that path of /proc."""
    kernel_file.write_setting(f"/proc/{name}", text)


def without_shelter() -> None:
    """Run the interpreter's own file in the container."""
    replace(shelter, "enter")


def dumpable() -> None:
    """Let the processes of a container look into the child that joins them."""
    replace(process, "not_dumpable", by=contextlib.nullcontext)


def with_all_descriptors() -> None:
    """Leave open in the child, and in its program, what the caller had open."""
    replace(process, "close_all_but", "close_on_exec_from")


def anywhere() -> None:
    """Let the working directory be outside."""
    replace(child, "_check_inside")


def without_openat2() -> None:
    """Resolve paths of the root filesystem as if they were the host's."""
    replace(paths, "open_in_root", by=by_name_alone)


def proc_by_links() -> None:
    """Follow a link at /proc when proc is mounted."""
    rootfs._KERNEL_VIEWS = frozenset()


def anything_at_proc() -> None:
    """Mount whatever is asked for at /proc."""
    replace(rootfs, "_check_proc")


def any_null() -> None:
    """Take whatever is at /dev/null for it."""
    replace(rootfs, "_expect_null")


def settings_by_name() -> None:
    """Write a kernel's setting wherever its path leads."""
    replace(child, "write_proc", by=write_by_name)


def with_the_callers_groups() -> None:
    """Keep the supplementary groups of whoever called."""
    replace(process, "set_groups")


GUARDS: dict[str, Callable[[], None]] = {
    each.__name__: each
    for each in (
        without_shelter,
        dumpable,
        with_all_descriptors,
        anywhere,
        without_openat2,
        proc_by_links,
        anything_at_proc,
        any_null,
        settings_by_name,
        with_the_callers_groups,
    )
}


if __name__ == "__main__":
    for name in sys.argv.pop(1).split(","):
        GUARDS[name]()
    main.main()
