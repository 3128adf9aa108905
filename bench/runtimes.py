"""Bare runtimes on one bundle, whose program does nothing: no daemon, no shim, no client."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from conformance.runtime.harness import base_config, make_rootfs
from minicontainerd.linux import cgroup
from minicontainerd.run.device_rules import USUAL

from .series import Row, alternate, milliseconds

Life = Callable[[int], float]
"""One container's life: the round's number, and the milliseconds."""

MINIRUNC = str(Path(sys.executable).parent / "minirunc")


def rows(rounds: int) -> list[Row]:
    """``run`` of each as a command, and ours as the shim calls it, against runc and, where it works, crun.

    crun refuses a host that has both versions of cgroups.
    """
    names = ["runc", *(["crun"] if cgroup.layout() == "unified" else [])]
    with tempfile.TemporaryDirectory(prefix="minicontainerd-bench-") as scratch:
        folder = Path(scratch)
        with in_process(folder) as function:
            theirs = [command(str(shutil.which(name)), folder) for name in names]
            *measured, called, executed = alternate([*theirs, function, command(MINIRUNC, folder)], rounds)
    found = []
    for name, values in zip(names, measured, strict=True):
        found.append(Row(f"{name} run, by ours in process", "ms", values, called, 0.5 if name == "runc" else None))
        found.append(Row(f"{name} run, by minirunc run", "ms", values, executed, 2.5 if name == "runc" else None))
    return found


def bundle(folder: Path, name: str) -> Path:
    """A bundle of one static program."""
    place = folder / name
    make_rootfs(place / "rootfs")
    config = base_config(name)
    config["linux"]["cgroupsPath"] = f"/bench-{folder.name}/{name}"
    config["linux"]["resources"] = {"devices": USUAL}  # as every client of containerd writes it
    (place / "config.json").write_text(json.dumps(config))
    return place


def command(program: str, folder: Path) -> Life:
    """``PROGRAM run``."""
    name = Path(program).name
    place = bundle(folder, name)

    def once(number: int) -> float:
        words = [program, "--root", str(folder / f"{name}-root"), "run", "--bundle", str(place), f"{name}-{number}"]
        return milliseconds(lambda: subprocess.run(words, check=True, stdin=subprocess.DEVNULL))

    return once


@contextmanager
def in_process(folder: Path) -> Iterator[Life]:
    """Ours, as functions in another process."""
    place = bundle(folder, "called")
    words = [sys.executable, "-m", "bench.in_process", str(folder / "called-root"), str(place)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout

        def once(number: int) -> float:
            print(f"called-{number}", file=process.stdin, flush=True)
            return float(process.stdout.readline())  # type: ignore[union-attr]

        try:
            yield once
        finally:
            process.stdin.close()
    Path(cgroup.tree(), f"bench-{folder.name}").rmdir()
