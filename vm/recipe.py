"""What is in the guest. Everything that a change of this file would change is kept under another key.

The key covers the packages asked for and the wheels, the files written here, QEMU's version and the devices. It does
not cover the versions that the Debian mirror gives on the day: those are written down beside the image, in
``packages.txt``, and ``python -m vm build --fresh`` asks for today's.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tomllib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The top of the repository."""

SUITE = "bookworm"
KERNEL = "linux-image-cloud-amd64"
PYTHON = "3.11"  # that of SUITE: wheels are fetched for it, whatever Python runs this

PEERS = "containerd containernetworking-plugins crun docker-registry runc skopeo umoci"
TOOLS = (
    "apparmor attr busybox-static dropbear-bin e2fsprogs iproute2 kmod libseccomp2 nftables openssl procps python3 tini"
)
TEST_WHEELS = ("bcrypt", "hypothesis", "paramiko", "pytest", "pytest-testinfra", "pytest-xdist")
"""Of the project's extra ``test``: those that run tests, and not those that check source."""

PROGRAMS = {
    "minicontainerd": "minicontainerd.daemon.main",
    "minictr": "minicontainerd.cli.main",
    "minirunc": "minicontainerd.run.main",
    "containerd-shim-mini-v2": "minicontainerd.run.shim.main",
}

INIT = r"""#!/bin/sh
# Process 1 is tini, which reaps; this is what it runs. One kind of cgroups, all controllers, ssh, and nothing else.
set -e
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t securityfs securityfs /sys/kernel/security
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" > /sys/fs/cgroup/cgroup.subtree_control
done
mountpoint -q /dev || mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o nosuid,nodev shm /dev/shm
mount -t mqueue mqueue /dev/mqueue
mount -t tmpfs -o nosuid,mode=755 run /run
mount -t tmpfs -o nosuid,mode=1777 tmp /tmp
ln -sfn /proc/self/fd /dev/fd
ip link set lo up
ip link set eth0 up && ip address add 10.0.2.15/24 dev eth0 || echo "no network card"
hostname guest
sysctl -q -w kernel.panic_on_oops=1 net.ipv4.ip_forward=1
for module in overlay veth bridge br_netfilter loop; do modprobe $module; done
ulimit -n 65536
dropbear -R -E -s -p 22 -r /etc/dropbear/host_key 2>/dev/console
echo "guest: ready" > /dev/console
exec sleep infinity
"""

FILES = {
    "etc/hostname": "guest\n",
    "etc/hosts": "127.0.0.1 localhost guest\n::1 localhost\n",
    "etc/fstab": "/dev/vda / ext4 rw 0 1\n",
    "etc/minicontainerd-guest": "This machine is a guest of `python -m vm`.\n",
    "root/.profile": "PATH=/opt/venv/bin:/usr/local/sbin:/usr/sbin:/sbin:$PATH\ncd /src 2>/dev/null || true\n",
    "opt/venv/pyvenv.cfg": f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {PYTHON}\n",
    f"opt/venv/lib/python{PYTHON}/site-packages/source.pth": "/src\n",
}
EXECUTABLES = {
    "usr/local/sbin/guest-init": INIT,
    **{
        f"opt/venv/bin/{name}": f"#!/opt/venv/bin/python\nimport sys\nfrom {module} import main\nsys.exit(main())\n"
        for name, module in PROGRAMS.items()
    },
}


def cache() -> Path:
    """Where images and saved machines are kept between runs."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = root / "minicontainerd" / "vm"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@dataclass(frozen=True)
class Recipe:
    """One kind of guest. *disk_gib* is how large its root may grow, *memory_mib* what it has of RAM."""

    memory_mib: int = 2048
    disk_gib: int = 8
    extra: tuple[str, ...] = field(default=())

    @property
    def packages(self) -> list[str]:
        """Debian packages, the kernel apart."""
        return sorted({*PEERS.split(), *TOOLS.split(), *self.extra})

    @cached_property
    def wheels(self) -> list[str]:
        """Requirements as pip reads them: what the package needs, and what its tests need to run."""
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        test = [line for line in project["optional-dependencies"]["test"] if line.startswith(TEST_WHEELS)]
        return sorted([*project["dependencies"], *test])

    @cached_property
    def image_key(self) -> str:
        """Names the image: a digest of what goes into it."""
        parts = [SUITE, KERNEL, PYTHON, self.packages, self.wheels, FILES, EXECUTABLES, self.disk_gib]
        parts.append([(ROOT / "vm" / name).read_text() for name in ("image.py", "kernel.py")])
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def folder(self) -> Path:
        """Where this image is, or will be."""
        return cache() / f"image-{self.image_key}"


def qemu_version() -> str:
    """Of the QEMU that will be started; a saved state is only read by the one that wrote it.

    Raises:
        FileNotFoundError: there is no QEMU.
    """
    return subprocess.run(["qemu-system-x86_64", "--version"], check=True, capture_output=True, text=True).stdout
