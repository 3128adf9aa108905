"""The source as the guest sees it: a read-only erofs image, made anew for each run in a tenth of a second.

What git knows of is in it, as it is in the working tree now, and beside it the byte code that Python and pytest made
of it here: the guest is slow at compiling. The image is a disk of fixed size, so that one saved machine fits every
source; the guest reads nothing of it until it is mounted, after the restore.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from vm.qemu import SOURCE_MIB
from vm.recipe import ROOT

TOPS = ("conformance", "docs", "minicontainerd", "tests", "vm")
"""Folders that are taken where git does not tell which files there are."""


class ShareFailed(Exception):
    """The image could not be made; the message has the reason."""


def source_files() -> list[Path]:
    """The files of the working tree that belong to the project, relative to its top."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, check=False)
    if listed.returncode == 0:
        found = [Path(os.fsdecode(name)) for name in listed.stdout.split(b"\0") if name]
    else:  # an unpacked archive
        found = [path.relative_to(ROOT) for top in TOPS for path in (ROOT / top).rglob("*")]
        found += [path.relative_to(ROOT) for path in ROOT.glob("*")]
    return [path for path in found if (ROOT / path).is_file()]


def write_source(image: Path) -> bool:
    """Write the source to *image*; False where there is no mkfs.erofs (apt-get install erofs-utils).

    Raises:
        ShareFailed: it failed, or the source is too large.
    """
    program = shutil.which("mkfs.erofs", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        return False
    with tempfile.TemporaryDirectory(prefix="minicontainerd-vm-share-") as scratch:
        copy_source(Path(scratch, "source"))
        image.unlink(missing_ok=True)
        command = [program, "--all-root", str(image), f"{scratch}/source"]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ShareFailed(f"mkfs.erofs: {done.stderr.strip()}")
    if image.stat().st_size > SOURCE_MIB << 20:
        raise ShareFailed(f"the source takes {image.stat().st_size >> 20} MiB; the disk has {SOURCE_MIB}")
    os.truncate(image, SOURCE_MIB << 20)
    return True


def copy_source(target: Path) -> None:
    """Copy the source to *target* with its times, for byte code is found valid by them."""
    for path in source_files():
        copy = target / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, copy)
        if path.suffix == ".py":
            compiled = ROOT / path.parent / "__pycache__"
            for each in compiled.glob(f"{path.stem}.*.pyc"):
                (copy.parent / "__pycache__").mkdir(exist_ok=True)
                shutil.copy2(each, copy.parent / "__pycache__" / each.name)
