"""What this computer can do for a guest: run it natively (KVM) or interpret it (TCG), and which programs it lacks.

A device node ``/dev/kvm`` proves little: in a virtual machine of a provider it may be there and yet emulate every
instruction of the guest's kernel, until that dies. So three questions, cheapest first: does the processor have the
extension, is the kernel's module for it loaded, and does a machine that starts and at once ends do so in time.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from vm import kernel
from vm.recipe import cache

PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
}
"""What is needed, and Debian's package of it."""

PROBE_SECONDS = 8.0


class NotHere(Exception):
    """This host cannot run guests; the message says what is missing."""


def expect_programs() -> None:
    """Raise :class:`NotHere` unless all of :data:`PROGRAMS` are installed."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    missing = [package for program, package in PROGRAMS.items() if shutil.which(program, path=path) is None]
    if missing:
        raise NotHere(f"the VM needs programs that are not installed: apt-get install {' '.join(missing)}")


def kvm_reason() -> str:
    """Why KVM is not used, judged without starting anything; empty if it might work."""
    words = Path("/proc/cpuinfo").read_text().split()
    if "vmx" not in words and "svm" not in words:
        return "the processor has no virtualisation (neither vmx nor svm in /proc/cpuinfo)"
    if not any(Path("/sys/module", name).exists() for name in ("kvm_intel", "kvm_amd")):
        return "neither kvm_intel nor kvm_amd is loaded"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "/dev/kvm may not be opened (is this user in the group kvm?)"
    return ""


def accelerator(image: Path) -> tuple[str, str]:
    """``kvm`` or ``tcg``, and why, in one sentence; *image* is a folder with a kernel to try.

    The trial is remembered until the host boots again.
    """
    reason = kvm_reason()
    if reason:
        return "tcg", f"TCG, since {reason}"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    known = cache() / f"kvm-{boot}.json"
    if not known.exists():
        known.write_text(json.dumps(_trial(image)))
    works = json.loads(known.read_text())
    return ("kvm", "KVM") if works else ("tcg", f"TCG, since a trial under KVM did not end in {PROBE_SECONDS:.0f} s")


def _trial(image: Path) -> bool:
    """Start the kernel under KVM and let its initrd switch the machine off at once."""
    command = ["qemu-system-x86_64", "-M", "q35,accel=kvm", "-cpu", "host", "-m", "256", "-nodefaults"]
    command += ["-display", "none", "-no-reboot", "-kernel", str(image / "vmlinuz"), "-initrd", str(image / "initrd")]
    command += ["-append", f"{kernel.COMMAND_LINE} guest.probe"]
    started = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return started.wait(PROBE_SECONDS) == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        started.kill()
        started.wait()


LOOP = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; for i in 1 2 3 4 5 6 7 8 9 10; do /bin/true; done"
"""A little of both, counting and starting programs, to compare a guest with its host by."""


def seconds_of_loop() -> float:
    """How long :data:`LOOP` takes here."""
    started = time.monotonic()
    subprocess.run(["/bin/sh", "-c", LOOP], check=True)
    return time.monotonic() - started
