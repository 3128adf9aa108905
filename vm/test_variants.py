"""What the other kinds of guest are for, read back: a unit of systemd's has its limits, a snapshot keeps its data.

These tests say what they need, as any test may: ``@pytest.mark.needs("systemd")`` finds a guest in which process 1 is
systemd, ``needs("zfs")`` one with a kernel that has ZFS. Here they run in no guest if the host itself has all of it.
"""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

MIB = 1 << 20


def sh(script: str) -> str:
    """Run *script*, which must succeed; what it wrote."""
    environment = {"PATH": "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "DM_DISABLE_UDEV": "1"}
    done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[str]:
    """A block device of half a gigabyte, over a file."""
    file = tmp_path / "disk"
    with file.open("wb") as opened:
        opened.truncate(512 * MIB)
    device = sh(f"losetup --find --show {file}")
    yield device
    sh(f"losetup --detach {device}")


@pytest.mark.needs("root", "systemd", "cgroup-v2")
def test_systemd_makes_a_scope_with_the_limits_asked_for_over_the_bus() -> None:
    name = f"test-{uuid.uuid4().hex[:8]}"
    sh("busctl --system call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.DBus.Peer Ping")
    limits = "--property=MemoryMax=64M --property=TasksMax=17"
    script = "group=/sys/fs/cgroup$(sed s/^0::// /proc/self/cgroup); echo $group; cat $group/memory.max $group/pids.max"
    said = sh(f"systemd-run --quiet --scope --unit={name} {limits} sh -c '{script}'")
    assert said.split() == [f"/sys/fs/cgroup/system.slice/{name}.scope", str(64 * MIB), "17"]


@pytest.mark.needs("root", "systemd", "cgroup-v2")
def test_runc_has_systemd_make_its_cgroup(tmp_path: Path) -> None:
    """What a runtime's own cgroup driver is compared with."""
    id = f"test-{uuid.uuid4().hex[:8]}"
    (tmp_path / "rootfs/bin").mkdir(parents=True)
    sh(f"cp /bin/busybox {tmp_path}/rootfs/bin/sh && cd {tmp_path} && runc spec")
    config = f"{tmp_path}/config.json"
    edit = f"c = json.load(open('{config}')); c['process'].update(terminal=False, args=['sh', '-c', 'exit 7'])"
    path = f"c['linux'].update(cgroupsPath='system.slice:test:{id}', resources=dict(pids=dict(limit=23)))"
    sh(f"python3 -c \"import json; {edit}; {path}; json.dump(c, open('{config}', 'w'))\"")
    try:
        sh(f"cd {tmp_path} && runc --systemd-cgroup create {id} < /dev/null > /dev/null 2>&1")
        scope = Path(f"/sys/fs/cgroup/system.slice/test-{id}.scope")
        assert (scope / "pids.max").read_text() == "23\n"
        assert sh(f"systemctl show --property=TasksMax --value test-{id}.scope") == "23"
    finally:
        sh(f"runc --systemd-cgroup delete --force {id}")
    assert not scope.exists()


@pytest.mark.needs("root", "btrfs")
def test_a_snapshot_of_btrfs_keeps_what_its_origin_loses(disk: str, tmp_path: Path) -> None:
    top = tmp_path / "mnt"
    sh(f"mkfs.btrfs -q {disk} && mkdir {top} && mount {disk} {top}")
    try:
        sh(f"cd {top}; btrfs -q subvolume create one; echo first > one/file; btrfs -q subvolume snapshot -r one two")
        sh(f"echo second > {top}/one/file")
        assert ((top / "one/file").read_text(), (top / "two/file").read_text()) == ("second\n", "first\n")
    finally:
        sh(f"umount {top}")


@pytest.mark.needs("root", "thin-pool")
def test_a_snapshot_in_a_thin_pool_keeps_what_its_origin_loses(tmp_path: Path, disk: str) -> None:
    """Debian's dmsetup and no udev: device nodes are dmsetup's own. The pool's metadata is on the first 16 MiB."""
    prefix, top = f"test-{uuid.uuid4().hex[:8]}", tmp_path / "mnt"
    pool, origin, snapshot = (f"/dev/mapper/{prefix}-{name}" for name in ("pool", "origin", "snapshot"))
    sectors, meta = 1024 * MIB // 2 // 512, 16 * MIB // 512
    sh(f"dd if=/dev/zero of={disk} bs=4k count=1 conv=notrunc status=none; mkdir {top}")
    sh(f"dmsetup create {prefix}-meta --table '0 {meta} linear {disk} 0'")
    sh(f"dmsetup create {prefix}-data --table '0 {sectors - meta} linear {disk} {meta}'")
    table = f"0 {sectors - meta} thin-pool /dev/mapper/{prefix}-meta /dev/mapper/{prefix}-data 128 64"
    sh(f"dmsetup create {prefix}-pool --table '{table}'")
    size = 128 * MIB // 512
    try:
        sh(f"dmsetup message {pool} 0 'create_thin 0'; dmsetup create {prefix}-origin --table '0 {size} thin {pool} 0'")
        sh(f"mke2fs -q -t ext4 {origin}; mount {origin} {top}; echo first > {top}/file; umount {top}")
        sh(f"dmsetup suspend {origin}; dmsetup message {pool} 0 'create_snap 1 0'; dmsetup resume {origin}")
        sh(f"mount {origin} {top}; echo second > {top}/file; umount {top}")
        sh(f"dmsetup create {prefix}-snapshot --table '0 {size} thin {pool} 1'")
        assert sh(f"mount -o ro {snapshot} {top}; cat {top}/file; umount {top}") == "first"
        assert sh(f"mount -o ro {origin} {top}; cat {top}/file; umount {top}") == "second"
    finally:
        for name in ("snapshot", "origin", "pool", "data", "meta"):
            sh(f"! test -e /dev/mapper/{prefix}-{name} || dmsetup remove --retry {prefix}-{name}")


@pytest.mark.needs("root", "zfs")
def test_a_clone_of_a_zfs_snapshot_keeps_what_its_origin_loses(disk: str, tmp_path: Path) -> None:
    pool = f"test{uuid.uuid4().hex[:8]}"
    sh("modprobe zfs")
    sh(f"zpool create -m {tmp_path}/mnt {pool} {disk}")
    try:
        sh(f"zfs create {pool}/one; echo first > {tmp_path}/mnt/one/file; zfs snapshot {pool}/one@then")
        sh(f"echo second > {tmp_path}/mnt/one/file; zfs clone {pool}/one@then {pool}/two")
        assert (tmp_path / "mnt/one/file").read_text() == "second\n"
        assert (tmp_path / "mnt/two/file").read_text() == "first\n"
    finally:
        sh(f"zpool destroy {pool}")
