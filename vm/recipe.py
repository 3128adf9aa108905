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
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from vm import inits
from vm.kernel import COMMAND_LINE

ROOT = Path(__file__).resolve().parent.parent
"""The top of the repository."""

SUITE = "bookworm"
KERNEL = "linux-image-cloud-amd64"
PYTHON = "3.11"  # that of SUITE: wheels are fetched for it, whatever Python runs this

PEERS = "containerd containernetworking-plugins crun docker-registry podman runc skopeo umoci"
TOOLS = (
    "apparmor attr busybox-static criu dropbear-bin e2fsprogs iproute2 iptables kmod libseccomp2 nftables"
    " openssh-client openssl procps python3 rsync strace sudo tini uidmap util-linux"
)
STORAGE = "btrfs-progs dmsetup thin-provisioning-tools xfsprogs"
VARIANTS = {
    "minimal": "",
    "systemd": "dbus libpam-systemd systemd systemd-sysv",
    "selinux": "secilc",
    "storage": STORAGE,
    "zfs": f"{STORAGE} linux-headers-cloud-amd64 zfs-dkms zfsutils-linux",
}
"""What each kind of guest has besides; ``zfs-dkms`` is built for the guest's kernel while it is installed, which takes
five minutes more than the rest."""

KERNEL_WORDS = {"selinux": "security=selinux selinux=1"}
"""What a kind of guest tells its kernel besides: of AppArmor and SELinux, one kernel runs one."""

TEST_WHEELS = ("bcrypt", "hypothesis", "paramiko", "pytest", "pytest-testinfra", "pytest-xdist")
"""Of the project's extra ``test``: those that run tests, and not those that check source."""
INSTALL_WHEELS = ("hatchling", "pip")
"""With these the guest can install the package itself, which a guest of Vagrant's does."""

PROGRAMS = {
    "minicontainerd": "minicontainerd.daemon.main",
    "minictr": "minicontainerd.cli.main",
    "minirunc": "minicontainerd.run.main",
    "containerd-shim-mini-v2": "minicontainerd.run.shim.main",
}

FILES = {
    "etc/hostname": "guest\n",
    "etc/hosts": "127.0.0.1 localhost guest\n::1 localhost\n",
    "etc/fstab": "/dev/vda / ext4 rw 0 1\n",
    "etc/minicontainerd-guest": "This machine is a guest of `python -m vm`.\n",
    "root/.profile": "PATH=/opt/venv/bin:/usr/local/sbin:/usr/sbin:/sbin:$PATH\ncd /src 2>/dev/null || true\n",
    "opt/venv/pyvenv.cfg": f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {PYTHON}\n",
    f"opt/venv/lib/python{PYTHON}/site-packages/source.pth": "/src\n",
}
VARIANT_FILES = {
    "selinux": {"etc/selinux/guest.cil": (ROOT / "vm/selinux.cil").read_text()},
    "systemd": inits.SYSTEMD_FILES,
}
EXECUTABLES = {
    "usr/local/sbin/guest-init": inits.INIT,
    "usr/local/sbin/guest-up": inits.UP,
    "usr/local/sbin/guest-address": inits.ADDRESS,
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

    variant: str = "minimal"
    memory_mib: int = 2048
    disk_gib: int = 8

    @property
    def packages(self) -> list[str]:
        """Debian packages, the kernel apart."""
        return sorted({*PEERS.split(), *TOOLS.split(), *VARIANTS[self.variant].split()})

    @property
    def components(self) -> str:
        """The parts of Debian that they come from: ZFS is in ``contrib``, for its licence is not the kernel's."""
        return "main,contrib" if self.variant == "zfs" else "main"

    @cached_property
    def wheels(self) -> list[str]:
        """Requirements as pip reads them: what the package needs, and what its tests need to run."""
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        test = [line for line in project["optional-dependencies"]["test"] if line.startswith(TEST_WHEELS)]
        return sorted([*project["dependencies"], *test, *INSTALL_WHEELS])

    @property
    def command_line(self) -> str:
        """The kernel's."""
        return " ".join([COMMAND_LINE, *KERNEL_WORDS.get(self.variant, "").split()])

    @property
    def files(self) -> dict[str, str]:
        """What is written on top of the packages."""
        return {**FILES, **VARIANT_FILES.get(self.variant, {})}

    @property
    def executables(self) -> dict[str, str]:
        """The same, for programs; ``guest-boot`` becomes process 1."""
        boot = inits.BOOT_SYSTEMD if self.variant == "systemd" else inits.BOOT_TINI
        up = inits.UP_SELINUX if self.variant == "selinux" else inits.UP
        return {**EXECUTABLES, "usr/local/sbin/guest-boot": boot, "usr/local/sbin/guest-up": up}

    @cached_property
    def image_key(self) -> str:
        """Names the image: a digest of what goes into it."""
        parts = [SUITE, KERNEL, PYTHON, self.packages, self.wheels, self.files, self.executables, self.disk_gib]
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
