"""Make a container: the parent's half of the work that child.py tells from the other side.

::

    parent                                    child
    record, exec.fifo, cgroup with limits
    open the namespaces to join, compile the filter
    fork (birth.py) ───────────────────────▶  into cgroup and namespaces
    limits of init, its pid in the record ◀── inside
    network devices move to it
    go ────────────────────────────────────▶  mounts, devices
    prestart and createRuntime hooks       ◀── mounted
    go ────────────────────────────────────▶  pivot, terminal, rights, filter
    pid file; the answer: created          ◀── done; waits at exec.fifo for ``start``

Any process may call this: the command minirunc, or a shim that then is the container's parent. It must have one
thread, and should be a subreaper (linux/process.py), for there may be a stage between parent and init that ends early.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import AlreadyExists, ContainerdError, InvalidArgument, NotFound
from ..linux import disk, namespaces, process, seccomp, signals, terminal
from ..linux.namespaces import CLONE
from ..linux.tell import step
from . import attributes, birth, cgroups, child, hooks, listener, program, sources, state
from .explain import explained
from .state import Container
from .validate import load_config
from .words import reason, told_as

if TYPE_CHECKING:
    from ..oci.runtime import Box, Linux, Process, Resources, Spec


class Options(NamedTuple):
    """What a caller may ask beyond the bundle.

    *streams* become the program's 0, 1 and 2; *console* is a connected unix socket to which the master of its
    terminal is sent instead; *preserved* more descriptors, from 3 up, are passed on as well. An
    ordinary user's container *may_lack_cgroup*, if it asks for no limit. With *systemd*, it makes the cgroup.
    """

    pid_file: str = ""
    console: int = -1
    no_pivot: bool = False
    new_keyring: bool = True
    preserved: int = 0
    environment: tuple[str, ...] = ()  # for this process alone, after that of the config
    size: Box | None = None  # of its terminal, from its first moment
    streams: tuple[int, int, int] = (0, 1, 2)
    may_lack_cgroup: bool = False
    systemd: bool = False
    warn: Callable[[str], None] = lambda message: None


def create(root: str, id: str, bundle: str, options: Options) -> Container:
    """Make the container *id* from *bundle*; its program waits for :func:`operate.start`.

    Raises:
        AlreadyExists: there is one of this id.
        InvalidArgument, NotFound: the bundle is not as it should be.
        Unknown: something failed on the way; everything is undone.
    """
    state.check_id(id)
    bundle = os.path.realpath(bundle)
    config = load_config(bundle)
    check_terminal(bool(config["process"].get("terminal")), options.console)
    container = record(root, id, bundle, config, options)
    with explained(config, by="runtime"):
        try:
            container.save()  # first of all: whoever cleans up after us if we are killed has to know the cgroup
            container = _bring_up(container, options)
        except BaseException:
            undo(state.load(root, id) if os.path.exists(f"{container.folder}/state.json") else container, options.warn)
            raise
    if options.pid_file:
        write_pid_file(options.pid_file, container.pid)
    return container


def check_terminal(wanted: bool, console: int) -> None:
    """A terminal needs somebody who takes its master, and the other way round.

    Raises:
        InvalidArgument: in runc's words.
    """
    if wanted and console < 0:
        raise InvalidArgument("cannot allocate tty if runc will detach without setting console socket")
    if console >= 0 and not wanted:
        raise InvalidArgument("cannot use console socket if runc will not detach or allocate tty")


def record(root: str, id: str, bundle: str, config: Spec, options: Options) -> Container:
    """The container's folder; making it is what claims the id."""
    rootfs = os.path.realpath(os.path.join(bundle, config["root"]["path"]))
    if not os.path.isdir(rootfs):
        raise NotFound(f"invalid rootfs: stat {rootfs}: no such file or directory")
    unit, group = _unit(config, id) if options.systemd else ("", cgroups.folder_of(config, id))
    container = Container(root, id, bundle, rootfs, state.now(), config, group, creating=True, unit=unit)
    disk.ensure_directory(root, 0o700)
    try:
        disk.make_directory(container.folder, 0o711)
    except FileExistsError:
        raise AlreadyExists("container with given ID already exists") from None
    try:
        cgroups.check_unused(container.cgroup)
    except BaseException:
        disk.remove_directory(container.folder)
        raise
    return container


def _unit(config: Spec, id: str) -> tuple[str, str]:
    """The name of the unit that systemd will make, and the folder of its cgroup."""
    from . import units

    unit = units.unit_of(config, id)
    return unit.name, units.folder_of(unit)


def _bring_up(container: Container, options: Options) -> Container:
    linux: Linux = container.config.get("linux", {})
    with contextlib.ExitStack() as held:
        container = make_group(container, options, held)
        plan = _plan(container, options, held)
        with step(
            "fork a child into its cgroup and namespaces",
            spec="runtime-spec runtime.md#lifecycle",
        ):
            talk, forked = birth.fork(plan, joining=False)
        held.callback(talk.close)
        pid = birth.pid_of_init(talk, forked, linux)
        with step("resource limits, set from outside", spec="runtime-spec config.md#posix-process"):
            for problem in program.limit(pid, container.config["process"].get("rlimits") or []):
                options.warn(problem)
        limit_tasks(container)
        container = container._replace(pid=pid, start_time=process.stat(pid).start_time)
        container.save()
        if wanted := linux.get("netDevices"):
            from . import netdevices

            netdevices.move(wanted, pid)
        talk.say("go")
        warn_of_ungranted(container.config["process"], options.warn)  # while the child is busy
        birth.expect(talk.hear(), "mounted")
        _run_hooks(container)
        talk.say("go")
        birth.expect(listener.hear(talk, pid, linux.get("seccomp"), _as_creating(container)), "done")
    container = container._replace(creating=False)
    container.save()
    return container


def make_group(container: Container, options: Options, held: contextlib.ExitStack) -> Container:
    """The container's cgroup with its limits, if it can have one; what *held* has keeps it there until it is used."""
    resources = container.config.get("linux", {}).get("resources") or {}
    if container.unit:
        from . import units

        held.enter_context(units.started(units.unit_of(container.config, container.id), container.id, resources))
    elif options.may_lack_cgroup and cgroups.is_closed(container.config, container.cgroup):
        options.warn("no right to make a cgroup; no limit is asked for, so the container has none of its own")
        return container._replace(cgroup="")
    cgroups.create(container.cgroup, resources)
    cgroups.give_away(container.cgroup, container.config)
    return container


def limit_tasks(container: Container) -> None:
    """Set the limit of tasks, with the container's first process born: 0 would have kept it out, 1 its stage."""
    resources = container.config.get("linux", {}).get("resources") or {}
    if container.cgroup and (pids := resources.get("pids")):
        limit(container, {"pids": pids})


def limit(container: Container, resources: Resources) -> None:
    """Set the limits that *resources* asks for; where the cgroup is a unit of systemd's, also there.

    Raises:
        FailedPrecondition: a controller is not there, or systemd does not want it.
    """
    if container.unit:
        from . import units

        units.limit(container.unit, resources)
    cgroups.apply(container.cgroup, resources)


def _plan(container: Container, options: Options, held: contextlib.ExitStack) -> child.Plan:
    """Everything the child will need and could not get at later; *held* closes our copies of the descriptors."""
    config = container.config
    join, create = _namespaces(config, held)
    disk.make_fifo(container.fifo, 0o600)
    fifo = os.open(container.fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    held.callback(os.close, fifo)
    answer = -1
    if hooks.are_there(config, "startContainer", "poststart"):
        disk.make_fifo(container.answer, 0o600)
        answer = os.open(container.answer, os.O_RDWR | os.O_CLOEXEC)  # for writing alone, it would wait for a reader
        held.callback(os.close, answer)
    return child.Plan(
        container=container,
        process=as_asked(config["process"], options),
        join=join,
        create=create,
        filter=compile_filter(config),
        streams=options.streams,
        console_socket=options.console,
        fifo=fifo,
        answer=answer,
        preserved=options.preserved,
        no_pivot=options.no_pivot,
        new_keyring=options.new_keyring,
        cgroup_folders=(container.cgroup,) if container.cgroup else (),
        trees=sources.open_trees(config, container.bundle, held),
    )


def as_asked(each: Process, options: Options) -> Process:
    """*each* with what the caller adds to the config."""
    found = each.copy()
    found["env"] = [*(each.get("env") or []), *options.environment]
    if options.size:
        found["consoleSize"] = options.size
    return found


def _namespaces(config: Spec, held: contextlib.ExitStack) -> tuple[tuple[tuple[int, CLONE], ...], CLONE]:
    join, create = [], CLONE(0)
    wanted = {each["type"]: each.get("path", "") for each in config.get("linux", {}).get("namespaces") or []}
    for name, flag in namespaces.FLAGS.items():  # in this order: user first
        path = wanted.get(name)
        if path == "":
            create |= flag
        elif path:
            join.append((_open_namespace(name, path, held), flag))
    return tuple(join), create


def _open_namespace(name: str, path: str, held: contextlib.ExitStack) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO would wait for a writer
    except OSError as error:
        raise NotFound(f"namespace path: lstat {path}: {reason(error)}") from error
    held.callback(os.close, descriptor)
    if (found := namespaces.kind_of(descriptor)) != name:
        raise InvalidArgument(
            f"namespace path: {path} is {f'of kind {found}' if found else 'no namespace'}, not {name}"
        )
    return descriptor


def compile_filter(config: Spec) -> seccomp.Program | None:
    """The config's seccomp filter as a program.

    Raises:
        InvalidArgument: it names what is not known.
    """
    wanted = config.get("linux", {}).get("seccomp")
    if not wanted:
        return None
    try:
        return seccomp.compile(wanted)
    except ValueError as error:
        raise InvalidArgument(str(error)) from error


def connect(path: str) -> int:
    """The console socket, to which the terminal's master will be sent.

    Raises:
        NotFound: nobody listens there.
    """
    try:
        return terminal.connect(path)
    except OSError as error:
        raise NotFound(f"console socket {path}: {reason(error)}") from error


def _run_hooks(container: Container) -> None:
    current = _as_creating(container)
    with told_as("unable to start container process: error during container init"):
        hooks.run(container.config, "prestart", current)
        hooks.run(container.config, "createRuntime", current)


def warn_of_ungranted(each: Process, warn: Callable[[str], None]) -> None:
    """Say which capabilities *each* will not have though it names them."""
    if missing := attributes.ungranted(each.get("capabilities")):
        warn(f"ignoring unknown or unavailable capabilities: [{' '.join(missing)}]")


def _as_creating(container: Container) -> dict[str, Any]:
    return hooks.state_of(container, "creating", container.pid)


def undo(container: Container, warn: Callable[[str], None]) -> None:
    """Take a container apart, however far it got: processes, cgroup, folder; and its poststop hooks are run."""
    with _forgiving():
        cgroups.kill(container.cgroup)
        if container.is_alive():
            signals.kill(container.pid, 9)
        if container.pid:
            birth.reap(container.pid)
    with _forgiving():
        remove_group(container)
    remove_folder(container)
    hooks.run_warning(container.config, "poststop", hooks.state_of(container, "stopped", 0), warn)


def remove_group(container: Container) -> None:
    """Remove the cgroup, in which nothing lives any more, and systemd's unit of it."""
    if container.unit:
        from . import units

        units.stop(container.unit)
    cgroups.remove(container.cgroup)


@contextlib.contextmanager
def _forgiving() -> Iterator[None]:
    """The first error is what the caller has to know; what goes wrong in cleaning up after it comes second."""
    try:
        yield
    except (OSError, ContainerdError):
        pass


def remove_folder(container: Container) -> None:
    """Remove the record; from now on the id is free. ``state.json`` goes last, so that this can be tried again."""
    for name in sorted(os.listdir(container.folder), key=state.RECORD.__eq__):
        disk.unlink(os.path.join(container.folder, name))
    disk.remove_directory(container.folder)


def remove_half_made(root: str, id: str) -> None:
    """Remove a folder without a record: of a create that was killed at once. Nobody else would ever do it."""
    state.check_id(id)
    disk.remove_tree(os.path.join(root, id))


def write_pid_file(path: str, pid: int) -> None:
    """Write *pid* to *path* as a whole: whoever waits for the file finds the number in it."""
    draft = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}")
    disk.write_file(draft, str(pid).encode())
    disk.rename(draft, path)
