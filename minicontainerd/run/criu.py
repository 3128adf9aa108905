"""``checkpoint`` and ``restore``: a container's processes as files, by the program CRIU.

CRIU(8) reads from the kernel what a tree of processes consists of, and later makes one that cannot tell the difference.
What it cannot know is what of the container belongs to the host. That it is told by name, the same on both sides::

    in the container           checkpoint                      restore
    a bind mount at /data      --external mnt[/data]:/data     --external mnt[/data]:/the/source
    a masked file              --external mnt[/file]:/dev/null --external mnt[/dev/null]:/dev/null
    a network it joined        --external net[INODE]:NAME      --inherit-fd fd[N]:NAME
    a pipe of its caller's     descriptors.json, beside them   --inherit-fd fd[N]:pipe:[INODE]

A checkpoint ends the container, unless it is left running; a restore makes record and cgroup as ``create`` does, and
then CRIU in that cgroup, whose sibling the container becomes: our child.

Left out, and refused by name: terminals, user namespaces, hooks prestart and createRuntime, checkpoints in more than
one step. Hooks of later moments are not run again: the program is past them. The folders that a bind mount covers must
be in the rootfs when it is restored, as the first ``create`` left them.
Source: runc@76d9cf5 libcontainer/criu_linux.go; criu(8) of 3.17.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..errors import FailedPrecondition, InvalidArgument, NotFound, Unimplemented, Unknown
from ..linux import disk, process
from ..linux.fork import fork_into
from ..linux.mount import MNT, MS, mount, umount
from ..linux.mount_options import parse_mount_options
from ..linux.paths import open_in_root
from ..linux.tell import step
from . import create, hooks, operate, program
from .state import Container
from .words import reason

if TYPE_CHECKING:
    from ..oci.runtime import Spec
    from .flags import Flags

DESCRIPTORS = "descriptors.json"
"""Beside CRIU's own files, under runc's name: what 0, 1 and 2 were, by which a pipe of the caller's is known again."""

_MODES = ("", "soft", "full", "strict", "ignore")
_SWITCHES = ("tcp-established", "ext-unix-sk", "shell-job", "file-locks", "auto-dedup")
_REFUSED = ("pre-dump", "lazy-pages")
_REFUSED_VALUES = ("parent-path", "page-server", "status-fd", "lsm-profile", "lsm-mount-context", "console-socket")
_NETWORK = "extRootNetNS"


def checkpoint(container: Container, criu: str, flags: Flags, warn: operate.Warn) -> None:
    """Write *container* to the files that *flags* name; unless it is left running, it is gone then.

    Raises:
        FailedPrecondition: there is no CRIU.
        InvalidArgument, Unimplemented: a flag or the container asks for what is not done here.
        Unknown: CRIU failed; the container goes on.
    """
    check(container.config, flags)
    path = find(criu)
    images, work = _folders(flags)
    disk.ensure_directory(images, 0o700)
    disk.ensure_directory(work, 0o700)
    disk.write_file(os.path.join(images, DESCRIPTORS), json.dumps(streams_of(container.pid)).encode(), 0o600)
    words = [path, "dump", "--tree", str(container.pid), *_common(flags, images, work, "dump.log", container.rootfs)]
    words += ["--freeze-cgroup", container.cgroup] if container.cgroup else []
    words += [*external(container), *(["--leave-running"] if flags.on("leave-running") else [])]
    with step("CRIU writes the processes to files", spec="criu(8), dump"):
        _run(words, "", os.path.join(work, "dump.log"))
    if not flags.on("leave-running"):
        operate.delete(container, warn, force=True)


def restore(root: str, id: str, criu: str, flags: Flags, options: create.Options) -> Container:
    """Make the container *id* of the files that *flags* name; it runs.

    Raises:
        AlreadyExists: there is one of this id.
        FailedPrecondition, InvalidArgument, NotFound, Unimplemented: no CRIU, no checkpoint, a bundle or a flag that
            is wrong, or asks for what is not done here.
        Unknown: CRIU failed; everything is undone.
    """
    from . import state, validate

    state.check_id(id)
    bundle = os.path.realpath(flags.value("bundle", "."))
    config = validate.load_config(bundle)
    check(config, flags)
    path = find(criu)
    images, work = _folders(flags)
    descriptors = _descriptors(images)
    disk.ensure_directory(work, 0o700)
    container = create.record(root, id, bundle, config, options)
    try:
        container.save()
        with contextlib.ExitStack() as held:
            container = create.make_group(container, options, held)
            words = _restore_words(path, container, flags, descriptors, held)
            with step("CRIU makes the processes of the files", spec="criu(8), restore"):
                _run(words, container.cgroup, os.path.join(work, "restore.log"))
        with open(os.path.join(container.folder, "criu.pid"), encoding="utf-8") as file:
            pid = int(file.read())
        disk.unlink(os.path.join(container.folder, "criu.pid"))
        create.limit_tasks(container)
        container = container._replace(pid=pid, start_time=process.stat(pid).start_time, creating=False)
        container.save()
    except BaseException:
        create.undo(container, options.warn)
        raise
    if options.pid_file:
        create.write_pid_file(options.pid_file, container.pid)
    return container


def find(criu: str) -> str:
    """Where the program is.

    Raises:
        FailedPrecondition: nowhere, and what to do about it.
    """
    try:
        return program.find(criu, os.environ.get("PATH", os.defpath))
    except OSError as error:
        hint = "install CRIU, or say with --criu where it is"
        raise FailedPrecondition(f"CRIU version check failed: {reason(error)} ({hint})") from error


def check(config: Spec, flags: Flags) -> None:
    """Refuse what is not done here, before anything is done.

    Raises:
        InvalidArgument: a mode that is none.
        Unimplemented: the flag, or what the container has.
    """
    if (mode := flags.value("manage-cgroups-mode")) not in _MODES:
        raise InvalidArgument(f"invalid manage-cgroups-mode value {mode!r}: it is soft, full, strict or ignore")
    if (empty := flags.value("empty-ns", "network")) != "network":
        raise InvalidArgument(f'namespace "{empty}" is not supported')
    given = [name for name in _REFUSED if flags.on(name)] + [name for name in _REFUSED_VALUES if flags.value(name)]
    if given:
        raise Unimplemented(f"--{given[0]} is not supported: a checkpoint is made in one step, of the whole container")
    if config["process"].get("terminal"):
        raise Unimplemented("a container with a terminal cannot be checkpointed: its other end is not in the container")
    for each in config.get("linux", {}).get("namespaces") or []:
        if each["type"] == "user" or (each.get("path") and each["type"] != "network"):
            raise Unimplemented(f"a container with a {each['type']} namespace like this cannot be checkpointed")
    if hooks.are_there(config, "prestart", "createRuntime"):
        raise Unimplemented(
            "a container with prestart or createRuntime hooks cannot be restored: CRIU would not run them"
        )


def streams_of(pid: int) -> list[str]:
    """What the standard streams of *pid* are: ``pipe:[4711]``, a path; empty where there is none."""
    found = []
    for number in (0, 1, 2):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{number}"))
        except FileNotFoundError:
            found.append("")
    return found


def external(container: Container) -> list[str]:
    """What CRIU shall not write down, for it is the host's: what was bound, masked or joined."""
    words = []
    for destination, _ in _binds(container):
        words += ["--external", f"mnt[{destination}]:{destination}"]
    for path in container.config.get("linux", {}).get("maskedPaths") or []:
        found = f"/proc/{container.pid}/root{path}"
        if os.path.exists(found) and not os.path.isdir(found):  # over a folder is a tmpfs, which CRIU knows
            words += ["--external", f"mnt[{path}]:/dev/null"]
    if network := _network(container.config):
        words += ["--external", f"net[{os.stat(network).st_ino}]:{_NETWORK}"]
    return words


def bound_again(container: Container) -> list[str]:
    """The other side of :func:`external`: what is to be bound where."""
    words = []
    for destination, source in _binds(container):
        words += ["--external", f"mnt[{destination}]:{source}"]
    if container.config.get("linux", {}).get("maskedPaths"):
        words += ["--external", "mnt[/dev/null]:/dev/null"]
    return words


def _binds(container: Container) -> Iterator[tuple[str, str]]:
    """Where the bind mounts are, links of the image resolved inside it, and what was bound."""
    root = os.open(container.rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for each in container.config.get("mounts") or []:
            if parse_mount_options(each.get("options") or [], each.get("type", "")).is_bind:
                source = os.path.join(container.bundle, each.get("source", ""))
                yield _resolved(root, container.rootfs, each["destination"]), os.path.realpath(source)
    finally:
        os.close(root)


def _resolved(root: int, rootfs: str, path: str) -> str:
    """*path* as it is called inside; what is not in the image itself (in a tmpfs, say) has no links to resolve."""
    try:
        found = open_in_root(root, path)
    except OSError:
        return os.path.normpath(path)
    try:
        return "/" + os.path.relpath(os.readlink(f"/proc/self/fd/{found}"), rootfs)
    finally:
        os.close(found)


def _network(config: Spec) -> str:
    """The path of the network namespace that the container joined, if it did."""
    spaces = config.get("linux", {}).get("namespaces") or []
    return next((each.get("path", "") for each in spaces if each["type"] == "network"), "")


def _folders(flags: Flags) -> tuple[str, str]:
    """Where the files are, and where CRIU logs."""
    images = os.path.abspath(flags.value("image-path", "checkpoint"))
    return images, os.path.abspath(flags.value("work-path", images))


def _descriptors(images: str) -> list[str]:
    try:
        with open(os.path.join(images, DESCRIPTORS), encoding="utf-8") as file:
            return [str(each) for each in json.load(file)]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"no checkpoint in {images}: {reason(error)} ({DESCRIPTORS})") from error
    except ValueError as error:
        raise InvalidArgument(f"no checkpoint in {images}: {DESCRIPTORS} cannot be read: {error}") from error


def _common(flags: Flags, images: str, work: str, log: str, root: str) -> list[str]:
    mode = flags.value("manage-cgroups-mode") or "soft"
    words = ["--images-dir", images, "--work-dir", work, "--log-file", log, "-v4", "--root", root]
    words += [f"--manage-cgroups={mode}", "--empty-ns", "net"]  # its interfaces are whoever's who made them
    return words + [f"--{name}" for name in _SWITCHES if flags.on(name)]


def _restore_words(
    path: str, container: Container, flags: Flags, descriptors: list[str], held: contextlib.ExitStack
) -> list[str]:
    root = held.enter_context(_mounted(container))
    words = [path, "restore", *_common(flags, *_folders(flags), "restore.log", root)]
    words += ["--restore-detached", "--restore-sibling", "--evasive-devices"]
    words += ["--pidfile", os.path.join(os.path.abspath(container.folder), "criu.pid"), *bound_again(container)]
    for number, name in enumerate(descriptors):
        if name.startswith("pipe:"):
            words += ["--inherit-fd", f"fd[{_handed_on(number, held)}]:{name}"]
    if network := _network(container.config):
        descriptor = os.open(network, os.O_RDONLY | os.O_CLOEXEC)
        words += ["--inherit-fd", f"fd[{_handed_on(descriptor, held)}]:{_NETWORK}"]
        os.close(descriptor)
    return words


def _handed_on(descriptor: int, held: contextlib.ExitStack) -> int:
    """A copy of *descriptor* that CRIU inherits; its own 0, 1 and 2 are not the container's."""
    copy = os.dup(descriptor)
    held.callback(os.close, copy)
    os.set_inheritable(copy, True)
    return copy


@contextlib.contextmanager
def _mounted(container: Container) -> Iterator[str]:
    """The rootfs as a mount of its own with nothing over it, as CRIU wants a root to be."""
    folder = os.path.realpath(os.path.join(container.folder, "criu-root"))
    disk.make_directory(folder, 0o700)
    try:
        mount(container.rootfs, folder, "", MS.BIND | MS.REC)
        try:
            if container.config["root"].get("readonly"):  # CRIU takes its root as it finds it
                mount("", folder, "", MS.BIND | MS.REMOUNT | MS.RDONLY)
            yield folder
        finally:
            umount(folder, MNT.DETACH)
    finally:
        disk.remove_directory(folder)


def _run(words: list[str], group: str, log: str) -> None:
    """Run CRIU and wait for it, in the cgroup *group* if one is given, where what it makes is born.

    Raises:
        Unknown: it failed; the end of its log says why, or what it said before it had one.
    """
    said = os.memfd_create("criu")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(log)  # an earlier one's errors would be taken for this one's
    pid = fork_into(group) if group else process.fork()
    if pid == 0:
        _become(words, said)
    _, status = os.waitpid(pid, 0)
    told = os.pread(said, 1 << 16, 0).decode(errors="replace")
    os.close(said)
    if status != 0:
        raise Unknown(f"criu failed: status {os.waitstatus_to_exitcode(status)}: {why(log, told)} (log file: {log})")


def _become(words: list[str], said: int) -> None:
    try:
        null = os.open("/dev/null", os.O_RDONLY)
        for descriptor, number in ((null, 0), (said, 1), (said, 2)):
            os.dup2(descriptor, number)
        os.execv(words[0], words)
    finally:
        os._exit(127)


def why(log: str, told: str) -> str:
    """The last errors of CRIU's *log*; what it *told* before there was one."""
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            told = file.read()
    except FileNotFoundError:
        pass
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    return "; ".join([line for line in lines if "Error" in line][-3:] or lines[-3:]) or "it says nothing"
