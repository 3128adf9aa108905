"""``python -m bench``: measure everything, print it, and save it."""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from conformance import images
from conformance.peers import DAEMONS, docker_registry

from . import networks, profile, report, runtimes, subjects
from .series import Row
from .subjects import Party


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="of what takes milliseconds; the rest takes fewer")
    parser.add_argument("--only", default="", help="run, exec, pull, crowd, memory, cni, runtimes or profile")
    parser.add_argument("--to", type=Path, help="a folder in which table, picture and profile are saved")
    options = parser.parse_args()
    with daemons() as (parties, small, big):
        rows, steps = measure(parties, small, big, options.rounds, options.only)
    print(report.table(rows))
    print()
    print(profile.as_text(steps))
    if options.to is not None:
        options.to.mkdir(parents=True, exist_ok=True)
        (options.to / "table.md").write_text(report.table(rows) + "\n")
        (options.to / "picture.svg").write_text(report.picture(rows))
        (options.to / "profile.txt").write_text(profile.as_text(steps) + "\n")


def measure(
    parties: subjects.Parties, small: str, big: str, rounds: int, only: str
) -> tuple[list[Row], list[profile.Step]]:
    """Everything, or what *only* names."""

    def wanted(what: str) -> bool:
        return only in ("", what)

    rows: list[Row] = []
    few = max(2, rounds // 8)
    if wanted("pull"):
        rows.append(subjects.pull(parties, "ctr images pull, 2 MB", small, few, None))
        rows.append(subjects.pull(parties, "ctr images pull, 485 MB", big, max(2, rounds // 10), 1.0))
    for party in parties:
        party.ctr("images", "pull", "--plain-http", small)
    if wanted("memory"):
        time.sleep(2)
        rows += subjects.memory(parties, small)
    if wanted("run"):
        rows.append(subjects.run(parties, small, rounds))
    if wanted("exec"):
        rows.append(subjects.execute(parties, small, rounds))
    if wanted("crowd"):
        rows.append(subjects.crowd(parties, small, 10, few, None))
        rows.append(subjects.crowd(parties, small, 50, few, 0.7))
    if wanted("cni"):
        rows += networks.rows(rounds)
    if wanted("runtimes"):
        rows += runtimes.rows(rounds)
    steps = profile.profile(parties[1].ctr, small, few) if wanted("profile") else []
    for party in parties:
        party.ctr("images", "rm", "--sync", small)
    return rows, steps


@contextmanager
def daemons() -> Iterator[tuple[subjects.Parties, str, str]]:
    """Both daemons, and a registry with the small and the big image."""
    with tempfile.TemporaryDirectory(prefix="minicontainerd-bench-") as scratch, ExitStack() as stack:
        folder = Path(scratch)
        host = stack.enter_context(docker_registry(folder))
        names = []
        for layout, tag in ((images.busybox(), "busybox"), (images.debian(), "debian")):
            names.append(f"{host}/{tag}:1")
            copy = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"oci:{layout}:{tag}"]
            subprocess.run([*copy, f"docker://{names[-1]}"], check=True)
        parties = []
        for name, mark in (("containerd", "theirs"), ("minicontainerd", "ours")):
            (folder / name).mkdir()
            ctr = stack.enter_context(DAEMONS[name](folder / name))
            parties.append(Party(ctr, mark))
        yield (parties[0], parties[1]), names[0], names[1]


if __name__ == "__main__":
    main()
