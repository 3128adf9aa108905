"""Each attack of conformance/runtime/attacks.py works as soon as its guard is taken out of minirunc.

That it does not work with the guard is for the conformance suite to show, of any runtime. Here it is shown that the
attack is a real one, and which line of ours it is that stands against it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance import leaks
from conformance.runtime.attacks import ATTACKS
from conformance.runtime.harness import Container, Runtime, make_rootfs

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="containers need root")

WITHOUT = {
    "overwrite_the_runtime": "without_shelter",
    "stand_in_a_leaked_directory": "with_all_descriptors,without_openat2,anywhere",
    "read_through_a_leaked_descriptor": "with_all_descriptors",
    "mount_outside": "without_openat2",
    "mount_outside_by_a_swapped_link": "without_openat2",
    "make_devices_outside": "without_openat2",
    "put_proc_behind_a_link": "proc_by_links",
    "put_a_folder_over_proc": "anything_at_proc",
    "unmask_by_another_null": "any_null",
    "have_a_setting_written_elsewhere": "settings_by_name",
    "read_the_runtime_while_it_joins": "dumpable",
    "keep_the_callers_groups": "with_the_callers_groups",
}
"""What each attack needs to be missing; more than one where there is a second wall behind the first."""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for the container. That nothing else is left is seen at the end of all tests."""
    yield tmp_path
    leaks.remove_empty_parents()


def without(guards: str, folder: Path) -> Runtime:
    """minirunc without *guards*, as a program of its own."""
    program = folder / "unguarded"
    program.write_text(
        f"#!{sys.executable}\n"
        "import runpy, sys\n"
        f"sys.argv.insert(1, {guards!r})\n"
        "runpy.run_module('conformance.runtime.unguarded', run_name='__main__')\n"
    )
    program.chmod(0o755)
    return Runtime(str(program), folder)


@pytest.mark.parametrize("name", ATTACKS)
def test_without_its_guard_an_attack_works(folder: Path, name: str) -> None:
    make_rootfs(folder / "bundle/rootfs")
    container = Container(without(WITHOUT[name], folder), folder / "bundle")
    try:
        assert ATTACKS[name](container) != ""
    finally:
        container.end()
