"""Between fork and execve: how a copy of the runtime becomes the first process of a container.

::

    parent      the runtime, on the host
      └ init    enters what namespaces it was not born in, builds its own world,        enter()
                drops its rights, executes the program                                  init(), joiner()

Where it could not be born in its pid namespace (birth.py says when), there is a *stage* between the two: it does the
entering, forks init inside and ends, because entering a pid namespace never changes the caller.

Rules of this file. It imports nothing once it runs, for after ``pivot`` the files are no longer there. It never
returns into the parent's code: it executes a program or leaves by ``os._exit``. It writes to no descriptor but the
channel, on which every failure becomes one sentence for the parent. And it is straight: read top to bottom, it is
the list of what a container is.

Read next: rootfs.py (its filesystem), privileges.py (its rights), create.py (the parent's half of this conversation).
"""

from __future__ import annotations

import os
import select
import signal
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from ..errors import ContainerdError
from ..linux import apparmor, cgroup, namespaces, process, seccomp, selinux, terminal
from ..linux.kernel_file import sysctl_path, write_proc, write_setting
from ..linux.loopback import bring_up
from ..linux.namespaces import CLONE
from ..linux.tell import open_files, speak_as, step
from . import attributes, devices, hooks, privileges, program, rootfs, sources
from .words import reason, sentence, told_as

if TYPE_CHECKING:
    from ..oci.runtime import Process, Spec
    from .channel import Channel
    from .state import Container


_ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
"""Signals by which a container is asked to end before it has started; its program will decide for itself."""


class Plan(NamedTuple):
    """All that the child needs, made ready by the parent while imports and the host's files were at hand."""

    container: Container
    process: Process
    join: tuple[tuple[int, CLONE], ...]  # descriptors of namespaces (or a pidfd) to enter, and their flags
    create: CLONE  # flags of the namespaces to make
    filter: seccomp.Program | None
    streams: tuple[int, int, int] = (0, 1, 2)
    console_socket: int = -1
    fifo: int = -1
    answer: int = -1  # where start waits to hear how the hooks went; closed by execve
    preserved: int = 0  # descriptors after standard error that the program gets as well
    no_pivot: bool = False
    new_keyring: bool = True
    cgroup_folders: tuple[str, ...] = ()  # the first that takes us; none if we are there
    born_in: CLONE = CLONE(0)  # those of ``create`` in which we are already
    is_inside: bool = False  # in the container's pid namespace from birth
    trees: sources.Trees = ()  # sources of bind mounts that only the parent can reach

    @property
    def has_own_mounts(self) -> bool:
        """Whether a root is built: by init alone, and in a mount namespace other than the host's."""
        return self.fifo >= 0 and "mount" in self.container.namespace_names()


def run(plan: Plan, channel: Channel, *, joining: bool) -> NoReturn:
    """The whole life of the child that the parent forked. *joining*: into a container that is there."""
    name = "process" if joining else "init"
    speak_as(name if plan.is_inside else "stage")
    try:
        enter(plan, channel)
        if not plan.is_inside:
            _fork_inside(channel)
            speak_as(name)
        _await_go(channel)  # until the parent has written down who we are
        joiner(plan, channel) if joining else init(plan, channel)
    except BaseException as error:
        channel.say("error", sentence(error))
    finally:
        os._exit(1)


def enter(plan: Plan, channel: Channel) -> None:
    """Into the cgroup and the namespaces, as far as the child was not born in them."""
    _use_streams(plan.streams)
    _close_what_is_not_ours(plan, channel)
    _default_signals()
    if plan.cgroup_folders:
        with step("into the container's cgroup", spec="runtime-spec config-linux.md#control-groups"):
            _join_cgroup(plan.cgroup_folders)
    if (score := plan.process.get("oomScoreAdj")) is not None:
        process.set_oom_score(score)
    with step("into new namespaces, or into those that are there", spec="runtime-spec config-linux.md#namespaces"):
        _join(plan.join)
        if plan.create & CLONE.NEWUSER:
            _new_user_namespace(plan, channel)
        elif plan.create & CLONE.NEWTIME:
            _new_clocks(plan)
        if others := plan.create & ~plan.born_in & ~(CLONE.NEWUSER | CLONE.NEWTIME):
            namespaces.unshare(others)
    if plan.is_inside:
        channel.say("inside")


def _join(wanted: tuple[tuple[int, CLONE], ...]) -> None:
    """Enter namespaces that are there. Some may be the host's, so first with the rights we have; then with those that
    the user namespace among them gives, the rest. A descriptor that stayed open would keep its namespace busy."""
    later = []
    for descriptor, flags in wanted:
        try:
            if flags == CLONE.NEWUSER:
                raise PermissionError
            namespaces.setns(descriptor, flags)
        except PermissionError:
            later.append((descriptor, flags))
    for descriptor, flags in later:
        namespaces.setns(descriptor, flags)
    for descriptor, _ in wanted:
        os.close(descriptor)
    if any(flags & CLONE.NEWUSER for _, flags in wanted):
        _become_its_root()


def _new_user_namespace(plan: Plan, channel: Channel) -> None:
    """Nobody is in there who could look into us, so for the moment we are open to whoever writes the mappings."""
    namespaces.unshare(CLONE.NEWUSER)
    process.set_dumpable(True)
    _ask(channel, "map")
    if plan.create & CLONE.NEWTIME:
        _new_clocks(plan)
    process.set_dumpable(False)
    _become_its_root()


def _become_its_root() -> None:
    """Root of the user namespace; from outside we came with numbers that mean nobody there."""
    process.set_gid(0)
    process.set_uid(0)


def _new_clocks(plan: Plan) -> None:
    """A time namespace for the child to be forked; its offsets can be set as long as nobody is in it."""
    namespaces.unshare(CLONE.NEWTIME)
    offsets = plan.container.config.get("linux", {}).get("timeOffsets") or {}
    lines = [f"{clock} {each.get('secs', 0)} {each.get('nanosecs', 0)}\n" for clock, each in offsets.items()]
    if lines:
        write_setting("/proc/self/timens_offsets", "".join(lines))


def _close_what_is_not_ours(plan: Plan, channel: Channel) -> None:
    """What the parent has open: held here too, its sockets would stay connected when it is gone."""
    ours = {plan.fifo, plan.answer, plan.console_socket, channel.incoming, channel.outgoing, *open_files()}
    ours |= {descriptor for descriptor, _ in plan.join} | {tree for _, tree in plan.trees}
    ours |= set(range(3 + plan.preserved))
    process.close_all_but({descriptor for descriptor in ours if descriptor >= 0})


def _fork_inside(channel: Channel) -> None:
    """Return in a child, the first process in the pid namespace that was entered."""
    with step("fork again: only a child is in the new pid namespace", spec="pid_namespaces(7)"):
        child = process.fork()
    if child:
        channel.say("pid", str(child))  # as the host numbers it: the stage itself stayed outside
        os._exit(0)


def init(plan: Plan, channel: Channel) -> NoReturn:
    """The first process of a new container."""
    with told_as("error during container init"):
        _build_world(plan, channel)
    argv, path, environment = _limit(plan, channel)
    channel.say("done")
    channel.close()
    _await_start(plan.fifo)
    _start_hooks(plan)
    _execute(path, argv, environment, plan.preserved)


def _start_hooks(plan: Plan) -> None:
    """The last of the hooks of create and start; ``create`` has answered long ago, so ``start`` is told."""
    try:
        hooks.run(plan.container.config, "startContainer", hooks.state_of(plan.container, "created", os.getpid()))
    except ContainerdError as error:
        os.write(plan.answer, sentence(error).encode(errors="backslashreplace")[:4096])
        os._exit(1)


def joiner(plan: Plan, channel: Channel) -> NoReturn:
    """One more process in a container that runs: its world is there, only rights and program are its own."""
    process.new_session()
    _terminal(plan)
    argv, path, environment = _limit(plan, channel)
    # No "done" here: the channel closes by execve itself, so the parent also hears when that fails.
    _execute(path, argv, environment, plan.preserved, channel)


def _build_world(plan: Plan, channel: Channel) -> None:
    """All that belongs to the container and not to one of its processes."""
    config, container = plan.container.config, plan.container
    with step("a session and a keyring of its own: what the host's hold is out of reach", spec="credentials(7)"):
        process.new_session()
        if plan.new_keyring:
            _new_keyring(container.id, plan.process.get("selinuxLabel", ""))
    if plan.create & CLONE.NEWNET:
        with step("a new network namespace has only lo, and that is down", spec="network_namespaces(7)"):
            bring_up()
    if plan.has_own_mounts:
        _change_root(plan, channel)
    else:
        _ask(channel, "mounted")
        os.chroot(container.rootfs)
    _terminal(plan)
    with step("host name, and settings that a namespace has of its own", spec="runtime-spec config.md#hostname"):
        _names_and_sysctls(config)
    if plan.has_own_mounts:
        rootfs.reopen_null()
        rootfs.finish(config)


def _change_root(plan: Plan, channel: Channel) -> None:
    config, container = plan.container.config, plan.container
    with step("a private view of the mounts", spec="runtime-spec config-linux.md#rootfs-mount-propagation"):
        rootfs.detach(config.get("linux", {}).get("rootfsPropagation", ""))
        root = rootfs.bind(container.rootfs)
    rootfs.populate(root, config, container.bundle, dict(plan.trees))
    if devices.has_own_dev(config):
        devices.make(root, config)
    _ask(channel, "mounted")
    hooks.run(config, "createContainer", hooks.state_of(container, "creating", os.getpid()))
    with step("the rootfs becomes /, the host's files fall away", spec="runtime-spec config.md#root"):
        rootfs.move(root) if plan.no_pivot else rootfs.pivot(root)
    os.close(root)


def _limit(plan: Plan, channel: Channel) -> tuple[list[str], str, dict[str, str]]:
    """Take the rights away; what to execute is looked for as the user that will execute it."""
    each = plan.process
    user, no_new_privileges = each.get("user", {}), each.get("noNewPrivileges", False)
    with step("give up privileges, in the order that the kernel forces", spec="runtime-spec config.md#linux-process"):
        program.schedule(each)
        attributes.apply(plan.container.config.get("linux", {}))
        if profile := each.get("apparmorProfile"):
            with told_as("apparmor failed to apply profile"):
                apparmor.change_on_exec(profile)
        if label := each.get("selinuxLabel"):
            with told_as("unable to set the SELinux label"):
                selinux.change_on_exec(label)
        if no_new_privileges:
            process.set_no_new_privs()
        if plan.filter and not no_new_privileges:
            _filter(plan.filter, channel)  # takes CAP_SYS_ADMIN, which is about to go
        privileges.own_streams(user.get("uid", 0))
        environment = program.environment(each)
        try:
            privileges.become(user, each.get("capabilities") or {}, each["cwd"])
        except FileNotFoundError as error:
            told = f'chdir to cwd ("{each["cwd"]}") set in config.json failed: {reason(error)}'
            raise OSError(error.errno, told) from error
        _check_inside()
        argv = each["args"]
        path = program.find(argv[0], environment.get("PATH", ""))
        if plan.filter and no_new_privileges:
            _filter(plan.filter, channel)
    return argv, path, environment


def _filter(loaded: seccomp.Program, channel: Channel) -> None:
    listener = seccomp.load(loaded)
    if loaded.notifies:
        _ask(channel, "seccomp", str(listener))  # the parent takes a copy, for an agent (listener.py)
        os.close(listener)


def _check_inside() -> None:
    """The working directory must not be a way out through a descriptor of the host's (CVE-2024-21626)."""
    try:
        inside = os.getcwd().startswith("/")
    except FileNotFoundError:
        inside = False
    if not inside:
        outside = "current working directory is outside of container mount namespace root"
        raise PermissionError(f"{outside} -- possible container breakout detected")


def _terminal(plan: Plan) -> None:
    """A terminal of the container's own devpts: its master goes out by the console socket, its slave becomes 0 to 2."""
    if not plan.process.get("terminal"):
        return
    with step("a terminal", spec="runtime-spec config.md#process"):
        master, slave, name = terminal.open_pair()
        if size := plan.process.get("consoleSize"):
            terminal.resize(master, size["height"], size["width"])
        terminal.send_descriptor(plan.console_socket, master, name)
        os.close(master)
        if plan.has_own_mounts:
            devices.bind_console(slave)
        _use_streams((slave, slave, slave))
        os.close(slave)
        terminal.make_controlling(0)


def _names_and_sysctls(config: Spec) -> None:
    if hostname := config.get("hostname"):
        process.set_host_name(hostname)
    if domainname := config.get("domainname"):
        process.set_domain_name(domainname)
    for name, value in (config.get("linux", {}).get("sysctl") or {}).items():
        write_proc("sys/" + sysctl_path(name), value)


def _end(number: int, frame: object) -> NoReturn:
    os._exit(128 + number)


def _await_start(fifo: int) -> None:
    """Wait until somebody opens exec.fifo for writing and writes. Nobody has it open yet, so poll(2) just waits."""
    for number in _ENDING:  # by itself none of them would end the first process of a pid namespace
        signal.signal(number, _end)
    poll = select.poll()
    poll.register(fifo, select.POLLIN)
    while not poll.poll():
        continue
    for number in _ENDING:
        signal.signal(number, signal.SIG_DFL)
    os.read(fifo, 1)
    os.close(fifo)


def _execute(
    path: str, argv: list[str], environment: dict[str, str], preserved: int, channel: Channel | None = None
) -> NoReturn:
    try:
        with step("become the program; of ours, nothing is left", spec="runtime-spec runtime.md#start"):
            process.close_on_exec_from(3 + preserved)
            process.execute(path, argv, environment)
    except OSError as error:
        told = program.refused(path, error, argv, environment)
        if channel:
            channel.say("error", told)
        else:
            os.write(2, f"{told}\n".encode())  # create has answered long ago; only the container's own log is left
        os._exit(255)


def _ask(channel: Channel, word: str, text: str = "") -> None:
    """Say *word* and wait for the answer; without a parent there is nothing to go on for."""
    channel.say(word, text)
    _await_go(channel)


def _await_go(channel: Channel) -> None:
    if channel.hear()[0] != "go":
        os._exit(1)


def _use_streams(streams: tuple[int, int, int]) -> None:
    copies = [os.dup(stream) for stream in streams]  # first, or a swap would overwrite one still to be copied
    for number, copy in enumerate(copies):
        os.dup2(copy, number)
        os.close(copy)


def _default_signals() -> None:
    """Python ignores SIGPIPE, and ignoring survives execve; a handler does not, but would run Python until then."""
    for number in signal.valid_signals():
        if signal.getsignal(number) != signal.SIG_DFL:  # what Python knows of them costs no call; most are
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _join_cgroup(folders: tuple[str, ...]) -> None:
    """Enter the first of *folders* that takes us: a container that made groups inside its own has closed that one."""
    for folder in folders:
        try:
            cgroup.write(folder, "cgroup.procs", "0")
        except OSError:
            if folder == folders[-1]:
                raise
        else:
            return


def _new_keyring(id: str, label: str) -> None:
    if label:
        selinux.label_keys(label)
    try:
        process.join_session_keyring(f"_ses.{id}")
    except OSError as error:
        if error.errno not in (38, 1):  # ENOSYS, EPERM: no keyrings here, or forbidden by an outer filter
            raise
