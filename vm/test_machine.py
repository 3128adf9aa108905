"""A real guest: the words of a test, and the names of what can go wrong. ``pytest vm`` starts them."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import pytest

from vm import ssh
from vm.machine import CommandFailed, DiskFull, Hang, Machine, Panic
from vm.recipe import ROOT


@pytest.fixture(scope="module")
def shared() -> Iterator[Machine]:
    with Machine.restored(source=True) as machine:
        yield machine


@pytest.fixture
def spoiled() -> Iterator[Machine]:
    """A machine for one test, which breaks it."""
    with Machine.restored() as machine:
        yield machine


def test_it_is_root_on_pure_cgroup_v2_with_every_controller(shared: Machine) -> None:
    assert shared.succeed("id -u", "stat -f -c %T /sys/fs/cgroup") == "0\ncgroup2fs"
    found = shared.succeed("cat /sys/fs/cgroup/cgroup.subtree_control").split()
    assert {"cpu", "cpuset", "io", "memory", "pids"} <= set(found)


def test_it_has_the_peers_and_the_source(shared: Machine) -> None:
    shared.succeed("containerd --version && runc --version && crun --version && skopeo --version && umoci --version")
    here = Path(__file__).read_text()
    assert shared.succeed("cat /src/vm/test_machine.py") == here.rstrip("\n")


def test_an_exit_code_is_what_counts(shared: Machine) -> None:
    assert shared.fail("echo no; exit 3") == "no\n"
    with pytest.raises(CommandFailed, match="succeeded, and should not"):
        shared.fail("true")
    with pytest.raises(CommandFailed, match=r"ended with 3(?s:.*)end of the console(?s:.*)qemu-system"):
        shared.succeed("exit 3")


def test_it_waits_for_what_comes_later(shared: Machine) -> None:
    shared.succeed("(sleep 0.5; echo late > /tmp/later) > /dev/null 2>&1 &")
    assert shared.wait_until_succeeds("cat /tmp/later") == "late"


def test_files_go_in_and_out(shared: Machine, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/file").write_bytes(bytes(range(256)) * 1000)
    shared.copy_in(tmp_path / "in", "/tmp/copied")
    shared.copy_out("/tmp/copied", tmp_path / "out")
    assert (tmp_path / "out/file").read_bytes() == (tmp_path / "in/file").read_bytes()


def test_testinfra_sees_it_from_outside(shared: Machine) -> None:
    assert shared.testinfra().file("/etc/minicontainerd-guest").is_file


def test_what_was_synced_survives_a_power_cut_of_the_same_disk(tmp_path: Path) -> None:
    data = tmp_path / "data.raw"
    with Machine.restored(data=data, data_cache="none") as machine:
        machine.succeed("mke2fs -q -t ext4 /dev/vdc && mkdir /disk && mount /dev/vdc /disk")
        machine.succeed("echo kept > /disk/kept && sync /disk/kept /disk", "echo lost > /disk/lost")
        machine.power_cut()
    with Machine.restored(data=data, data_cache="none") as machine:
        machine.succeed("mkdir /disk && mount /dev/vdc /disk")
        assert machine.succeed("cat /disk/kept") == "kept"
        assert "lost" not in machine.run("cat /disk/lost").out


def test_a_guest_does_not_outlive_who_started_it() -> None:
    lines = ["from vm.machine import Machine", "m = Machine.restored()"]
    script = "\n".join([*lines, "print(m.qemu.process.pid, m.folder, flush=True)", "input()"])
    with subprocess.Popen([sys.executable, "-c", script], stdin=PIPE, stdout=PIPE, text=True, cwd=ROOT) as started:
        assert started.stdout is not None
        pid, folder = next(line for line in started.stdout if not line.startswith("vm:")).split()
        qemu = os.pidfd_open(int(pid))
        started.kill()
    assert select.select([qemu], [], [], 60)[0], "QEMU is still there"
    os.close(qemu)
    shutil.rmtree(folder)


def test_a_full_disk_is_called_so(spoiled: Machine) -> None:
    with pytest.raises(DiskFull, match="no room on /tmp"):
        spoiled.succeed("dd if=/dev/zero of=/tmp/full bs=1M")


def test_a_panic_is_called_so(spoiled: Machine) -> None:
    with pytest.raises(Panic, match="panicked: sysrq triggered crash"):
        spoiled.run("echo c > /proc/sysrq-trigger")


def test_a_hang_is_called_so(spoiled: Machine) -> None:
    with pytest.raises(Hang, match="nothing from the guest"):
        spoiled.run("sleep 10000", seconds=0.1)


def test_a_guest_that_is_gone_is_found_out_before_its_command_is_late(
    spoiled: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "KNOCK_SECONDS", 2)
    with pytest.raises(Hang, match="nor any answer to a knock"):
        spoiled.run("echo here; sleep 10000", line=lambda said: spoiled.qemu.ask("stop"))


REWRITE = """
cd /sys/fs/cgroup && mkdir rewrite && { yes | cat > /dev/null & }
for i in $(seq 200); do echo 10000 100000 > rewrite/cpu.max && echo max > rewrite/cpu.max || exit; done
pkill yes
"""


def test_the_kernel_rewrites_its_code_while_the_other_processor_runs_it(spoiled: Machine) -> None:
    """The first quota there is, and the last that goes, is a jump label of the scheduler's each; see vm/qemu.py."""
    spoiled.succeed(REWRITE)
