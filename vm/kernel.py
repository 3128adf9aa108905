"""What QEMU starts: Debian's cloud kernel as it is, and an initrd of one program, one script and a dozen modules.

The kernel cannot read the disk by itself: the driver of QEMU's virtual disks and ext4 are modules. So a small archive
of files is loaded beside it, whose ``/init`` loads the modules in the order in which they need each other, mounts the
disk and goes there. Everything else is loaded from the disk when it is wanted.

The archive's format is cpio's ``newc``: a header of text fields before each name and its bytes, see
Documentation/driver-api/early-userspace/buffer-format.rst of Linux 6.1.
"""

from __future__ import annotations

import gzip
import stat
from pathlib import Path

MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_rng", "crc32c_generic", "ext4", "erofs")

INIT = """#!/bin/busybox sh
# Load the drivers, mount the disk, go there.
/bin/busybox mount -t proc proc /proc
for module in $(/bin/busybox cat /modules/order); do /bin/busybox insmod /modules/$module; done
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox echo "initrd: up" > /dev/console
/bin/busybox grep -q guest.probe /proc/cmdline && /bin/busybox poweroff -f
/bin/busybox mount -t ext4 -o rw,noatime /dev/vda /disk
/bin/busybox mount -o move /dev /disk/dev
/bin/busybox umount /proc
exec /bin/busybox switch_root /disk /usr/local/sbin/guest-boot
"""

COMMAND_LINE = "console=ttyS0 panic=-1 loglevel=4 net.ifnames=0 mitigations=off random.trust_cpu=on apparmor=1"
"""A panic resets at once (``panic=-1``), and QEMU is told to end then: that is how it is noticed."""


def initrd(modules: Path, busybox: Path) -> bytes:
    """The archive, compressed; *modules* is ``/lib/modules/<version>`` of the kernel.

    Raises:
        FileNotFoundError: a module is not there.
    """
    order = load_order(modules)
    files = dict.fromkeys(("bin", "dev", "disk", "modules", "proc"), (stat.S_IFDIR | 0o755, b""))
    files["init"] = (stat.S_IFREG | 0o755, INIT.encode())
    files["bin/busybox"] = (stat.S_IFREG | 0o755, busybox.read_bytes())
    files["modules/order"] = (stat.S_IFREG | 0o644, "\n".join(Path(path).name for path in order).encode())
    for path in order:
        files[f"modules/{Path(path).name}"] = (stat.S_IFREG | 0o644, (modules / path).read_bytes())
    return gzip.compress(cpio(files), 6, mtime=0)


def load_order(modules: Path) -> list[str]:
    """The files of :data:`MODULES` and of what they need, needed ones first, as ``modules.dep`` says.

    Raises:
        FileNotFoundError: a module is neither there nor built into the kernel.
    """
    needs = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, others = line.partition(":")
        needs[path] = others.split()
    built_in = {_plain(line) for line in (modules / "modules.builtin").read_text().split()}
    by_name = {_plain(path): path for path in needs}
    order: list[str] = []
    for name in MODULES:
        if name in built_in:
            continue
        if name not in by_name:
            raise FileNotFoundError(f"{modules}: no module {name}")
        for path in [*reversed(needs[by_name[name]]), by_name[name]]:
            if path not in order:
                order.append(path)
    return order


def cpio(files: dict[str, tuple[int, bytes]]) -> bytes:
    """An archive of *files*, name to mode and content; folders come before what is in them.

    >>> cpio({})[:6], len(cpio({})) % 4
    (b'070701', 0)
    """
    archive = b""
    for number, (name, (mode, data)) in enumerate([*files.items(), ("TRAILER!!!", (0, b""))], 1):
        fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        header = b"070701" + b"".join(f"{field:08x}".encode() for field in fields)
        archive += _padded(header + name.encode() + b"\0") + _padded(data)
    return archive


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _plain(path: str) -> str:
    """A module's name as the kernel has it: its file may be written with dashes."""
    return Path(path).stem.replace("-", "_")
