"""A kernel's setting is written to the kernel's file, and to no other."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from minicontainerd.linux.kernel_file import write_proc


def test_a_setting_of_ones_own() -> None:
    with open("/proc/self/comm", encoding="ascii") as file:
        before = file.read().rstrip("\n")
    write_proc("self/comm", "renamed")
    try:
        with open("/proc/self/comm", encoding="ascii") as file:
            assert file.read() == "renamed\n"
    finally:
        write_proc("self/comm", before)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")
@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("mount -t tmpfs tmpfs /proc && mkdir /proc/self && touch /proc/self/comm", "not the kernel's"),
        ("touch /dev/shm/loot-$$ && mount --bind /dev/shm/loot-$$ /proc/$PPID/comm; rm /dev/shm/loot-$$", "EXDEV"),
    ],
)
def test_anything_else_is_refused(what: str, error: str) -> None:
    program = f"""
import errno, os, subprocess
from minicontainerd.linux.kernel_file import write_proc
name = f"{{os.getpid()}}/comm"
subprocess.run(["sh", "-c", {what!r}], check=True)
try:
    write_proc(name if {error!r} == "EXDEV" else "self/comm", "renamed")
except OSError as error:
    print(error, errno.errorcode[error.errno])
"""
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert error in done.stdout, done.stderr
