"""SELinux: every process and file has a label, and rules say which may do what with which.

The labels are those of the common policies: a process of the type ``container_t`` reads what is ``container_file_t``
and not what is ``shadow_t``. The last part, ``s0:c1,c2``, keeps containers from each other. A guest with a policy of
one page, vm/selinux.cil, has these types; so has any host with the policy for containers.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

from .harness import Container, Failure
from .test_resources import sleeping

pytestmark = pytest.mark.needs("root", "selinux")

PROCESS = "system_u:system_r:container_t:s0:c1,c2"
ANOTHER = "system_u:system_r:container_t:s0:c3,c4"
SYS_KEYCTL, KEYCTL_GET_SECURITY = 250 if os.uname().machine == "x86_64" else 219, 17

OWN_LABEL = ("cat", "/proc/self/attr/current")
FILES = "system_u:object_r:container_file_t:s0:c1,c2"


def label(path: str | Path) -> str:
    return os.getxattr(path, "security.selinux", follow_symlinks=False).decode().rstrip("\0")


def stripped(text: str) -> str:
    return text.rstrip("\0\n")


def labelled(path: Path, kind: str) -> None:
    os.setxattr(path, "security.selinux", f"system_u:object_r:{kind}:s0".encode())


@pytest.mark.clause("config.process.selinux")
def test_the_program_has_its_label(container: Container) -> None:
    container.process["selinuxLabel"] = PROCESS
    assert stripped(container.args(*OWN_LABEL).run()) == PROCESS


@pytest.mark.clause("config.process.selinux")
@pytest.mark.parametrize(("kind", "reads"), [("container_file_t", True), ("shadow_t", False)])
def test_the_label_decides_what_the_program_may_read(container: Container, kind: str, reads: bool) -> None:
    secret = container.rootfs / "etc/secret"
    secret.write_text("the secret\n")
    labelled(secret, kind)
    container.process["selinuxLabel"] = PROCESS
    found = container.shell("cat /etc/secret").run()
    assert ("the secret" in found, "Permission denied" in found) == (reads, not reads)


@pytest.mark.clause("config.process.selinux")
def test_without_a_label_the_program_has_that_of_the_runtime(container: Container) -> None:
    assert stripped(container.args(*OWN_LABEL).run()) == stripped(Path(OWN_LABEL[-1]).read_text())


@pytest.mark.clause("config.process.selinux")
def test_a_program_executed_has_the_label_of_the_container(container: Container) -> None:
    container.process["selinuxLabel"] = PROCESS
    assert stripped(sleeping(container).exec(*OWN_LABEL)) == PROCESS


@pytest.mark.clause("config.process.selinux", "cli.exec.kept")
def test_a_process_from_a_file_has_the_label_of_the_container(container: Container) -> None:
    container.process["selinuxLabel"] = PROCESS
    assert stripped(sleeping(container).exec_of_file(*OWN_LABEL)) == PROCESS


@pytest.mark.clause("config.process.selinux")
def test_a_program_executed_can_have_a_label_of_its_own(container: Container) -> None:
    container.process["selinuxLabel"] = PROCESS
    assert stripped(sleeping(container).exec(f"--process-label={ANOTHER}", *OWN_LABEL)) == ANOTHER


@pytest.mark.clause("config.process.selinux")
def test_the_keyring_of_the_session_is_the_programs_to_use(container: Container) -> None:
    """With the runtime's label on it, the policy would keep the program from its own keys."""
    container.process["selinuxLabel"] = PROCESS
    container.shell("cat /proc/keys; echo read; sleep 1000").create().start()
    (line,) = (line for line in container.written(until="read\n").splitlines() if container.id in line)
    assert label_of_key(int(line.split()[0], 16)) == PROCESS


def label_of_key(key: int) -> str:
    found = ctypes.create_string_buffer(256)
    size = ctypes.CDLL(None, use_errno=True).syscall(SYS_KEYCTL, KEYCTL_GET_SECURITY, key, found, len(found))
    assert size > 0, os.strerror(ctypes.get_errno())
    return found.value.decode()


@pytest.mark.clause("config.process.selinux", "runtime.create.cannot-apply-errors")
def test_a_label_that_the_policy_does_not_know_is_an_error(container: Container) -> None:
    container.process["selinuxLabel"] = "system_u:system_r:nobodys_t:s0"
    with pytest.raises(Failure):
        container.create().start()


@pytest.mark.clause("linux.mount-label.set")
@pytest.mark.parametrize("where", ["/dev", "/dev/pts", "/dev/mqueue", "/scratch", "/dev/zero"])
def test_what_is_mounted_has_the_label_of_mounts(container: Container, where: str) -> None:
    container.linux["mountLabel"] = FILES
    container.config["mounts"] += [
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue"},
        {"destination": "/scratch", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m"]},
    ]
    assert label(f"/proc/{sleeping(container).pid}/root{where}") == FILES


@pytest.mark.clause("linux.mount-label.set")
def test_what_is_written_to_a_mount_has_its_label(container: Container) -> None:
    container.linux["mountLabel"] = FILES
    container.config["mounts"].append({"destination": "/scratch", "type": "tmpfs", "source": "tmpfs"})
    container.shell("echo new > /scratch/file; echo written; sleep 1000").create().start().written()
    assert label(f"/proc/{container.pid}/root/scratch/file") == FILES


@pytest.mark.clause("linux.mount-label.set")
@pytest.mark.parametrize("options", [["bind"], ["rbind", "ro"]], ids=" ".join)
def test_what_is_bound_keeps_its_label(container: Container, tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "file").touch()
    labelled(tmp_path / "file", "shadow_t")
    container.linux["mountLabel"] = FILES
    bind = {"destination": "/etc/bound", "type": "bind", "source": str(tmp_path / "file"), "options": options}
    container.config["mounts"].append(bind)
    assert ":shadow_t:" in label(f"/proc/{sleeping(container).pid}/root/etc/bound")


@pytest.mark.clause("linux.mount-label.set")
@pytest.mark.parametrize("where", ["/proc/version", "/sys/kernel"])
def test_what_the_kernel_shows_of_itself_keeps_its_label(container: Container, where: str) -> None:
    container.linux["mountLabel"] = FILES
    container.config["mounts"].append({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]})
    assert label(f"/proc/{sleeping(container).pid}/root{where}") == label(where)
