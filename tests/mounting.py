"""Mounts for tests: made by mount(8), undone whatever happens."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from minicontainerd.oci.mount import Mount


@contextlib.contextmanager
def mounted(mounts: Sequence[Mount], target: Path) -> Iterator[Path]:
    """Mount *mounts* on the directory *target*, which is made if it is missing."""
    target.mkdir(exist_ok=True)
    done = 0
    try:
        for mount in mounts:
            command = ["mount", "-t", "none" if mount.type == "bind" else mount.type, mount.source, str(target)]
            options = [option for option in mount.options if option != "rw"]
            subprocess.run([*command, "-o", ",".join(options)], check=True)
            done += 1
            if mount.type == "bind" and "ro" in options:
                subprocess.run(["mount", "-o", "remount,bind,ro", str(target)], check=True)
        yield target
    finally:
        for _ in range(done):
            subprocess.run(["umount", str(target)], check=True)
