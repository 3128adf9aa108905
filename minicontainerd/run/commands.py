"""What each command of ``minirunc`` does: words and flags translated into one call of the room.

Each function gets what stood before the command (:class:`Context`), its flags, and its words, and returns the status
for the shell. Its docstring is its line of help, in runc's words. What only some commands need is imported in them: a
container should not wait for what it does not use.

Source: runc@76d9cf5, the file of each command.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, NamedTuple

from ..errors import FailedPrecondition, InvalidArgument
from . import state
from .flags import Flags
from .log import Log

if TYPE_CHECKING:
    from .create import Options


class Context(NamedTuple):
    """What the words before the command said."""

    root: str
    log: Log
    criu: str = "criu"
    rootless: str = "auto"
    systemd: bool = False

    def container(self, id: str) -> state.Container:
        return state.load(self.root, id)


def create(context: Context, flags: Flags, words: list[str]) -> int:
    """create a container"""
    from .create import create

    create(context.root, words[0], flags.value("bundle", "."), _with_sockets(_options(context, flags)))
    return 0


def run(context: Context, flags: Flags, words: list[str]) -> int:
    """create and run a container"""
    from ..linux.process import set_child_subreaper
    from . import foreground, operate, validate
    from .create import create

    terminal = bool(validate.load_config(flags.value("bundle", ".")).get("process", {}).get("terminal"))
    detach = flags.on("detach")
    if not detach:
        set_child_subreaper()
    options, ends = _with_sockets(_options(context, flags)), foreground.Ends()
    if not detach:
        options, ends = foreground.prepare(options, terminal)
    container = create(context.root, words[0], flags.value("bundle", "."), options)
    try:
        operate.start(container)
        status = 0 if detach else foreground.attend(container.pid, ends)
    except BaseException:
        operate.delete(container, context.log.warning, force=True)
        raise
    if not detach and not flags.on("keep"):
        operate.delete(container, context.log.warning, force=True)
    return status


def start(context: Context, flags: Flags, words: list[str]) -> int:
    """executes the user defined process in a created container"""
    from . import operate

    operate.start(context.container(words[0]))
    return 0


def show_state(context: Context, flags: Flags, words: list[str]) -> int:
    """output the state of a container"""
    from . import report

    print(json.dumps(report.state(context.container(words[0])), indent=2), end="")
    return 0


def kill(context: Context, flags: Flags, words: list[str]) -> int:
    """send the specified signal (default: SIGTERM) to the container's init process"""
    from ..linux import signals
    from . import operate

    container = context.container(words[0])
    try:
        number = signals.number_of(words[1] if len(words) > 1 else "TERM")
    except ValueError:
        raise InvalidArgument(f'unknown signal "{words[1]}"') from None
    operate.kill(container, number, all=flags.on("all"))
    return 0


def delete(context: Context, flags: Flags, words: list[str]) -> int:
    """delete any resources held by the container"""
    from ..errors import NotFound
    from . import create, operate

    force = flags.on("force")
    try:
        container = context.container(words[0])
    except NotFound:
        create.remove_half_made(context.root, words[0])
        if force:
            return 0
        raise
    operate.delete(container, context.log.warning, force=force)
    return 0


def execute(context: Context, flags: Flags, words: list[str]) -> int:
    """execute new process inside the container"""
    from ..linux.process import set_child_subreaper
    from . import foreground, join, requests

    container = context.container(words[0])
    join.check(container, ignore_paused=flags.on("ignore-paused"))
    process = requests.process(container, flags, words[1:])
    detach = flags.on("detach")
    if not detach:
        set_child_subreaper()
    options, ends = _options(context, flags), foreground.Ends()
    if not detach:
        options, ends = foreground.prepare(options, bool(process.get("terminal")))
    group = (flags.many("cgroup") or [""])[-1]
    pid = join.execute(container, process, options, ignore_paused=flags.on("ignore-paused"), group=group)
    return 0 if detach else foreground.attend(pid, ends)


def ps(context: Context, flags: Flags, words: list[str]) -> int:
    """display the processes running inside a container"""
    from . import operate, report

    pids = operate.processes(context.container(words[0]))
    format = flags.value("format", "table")
    if format == "json":
        print(json.dumps(pids or None, separators=(",", ":")))  # as Go prints an empty list that was never made
    elif format == "table":
        print(report.ps_table(pids, words[1:]))
    else:
        raise InvalidArgument("invalid format option")
    return 0


def show_list(context: Context, flags: Flags, words: list[str]) -> int:
    """list containers started by the runtime with the given root"""
    from . import report

    containers = state.load_all(context.root)
    format = flags.value("format", "table")
    if flags.on("quiet"):
        print("\n".join(container.id for container in containers), end="\n" if containers else "")
    elif format == "json":
        print(report.list_json(containers))
    elif format == "table":
        print(report.list_table(containers))
    else:
        raise InvalidArgument("invalid format option")
    return 0


def pause(context: Context, flags: Flags, words: list[str]) -> int:
    """suspend all processes inside the container"""
    from . import operate

    operate.pause(context.container(words[0]))
    return 0


def resume(context: Context, flags: Flags, words: list[str]) -> int:
    """resume all processes that have been previously paused"""
    from . import operate

    operate.resume(context.container(words[0]))
    return 0


def update(context: Context, flags: Flags, words: list[str]) -> int:
    """update container resource constraints"""
    from . import operate, requests

    container = context.container(words[0])
    operate.update(container, requests.resources(flags))
    return 0


def events(context: Context, flags: Flags, words: list[str]) -> int:
    """display container events such as OOM notifications, cpu, memory, and IO usage statistics"""
    from . import statistics

    container = context.container(words[0])
    interval = statistics.seconds_in(flags.value("interval", "5s"))
    statistics.check(container)
    if flags.on("stats"):
        print(statistics.once(container))
        return 0
    for line in statistics.lines(container, interval):
        print(line, flush=True)
    return 0


def checkpoint(context: Context, flags: Flags, words: list[str]) -> int:
    """checkpoint a running container"""
    from . import criu

    container = context.container(words[0])
    status = container.status()
    if status in ("created", "stopped"):
        raise FailedPrecondition(f"Container cannot be checkpointed in {status} state")
    criu.checkpoint(container, context.criu, flags, context.log.warning)
    return 0


def restore(context: Context, flags: Flags, words: list[str]) -> int:
    """restore a container from a previous checkpoint"""
    from ..linux.process import set_child_subreaper
    from . import criu, foreground, operate

    if not flags.on("detach") and not flags.on("no-subreaper"):
        set_child_subreaper()
    container = criu.restore(context.root, words[0], context.criu, flags, _options(context, flags))
    if flags.on("detach"):
        return 0
    try:
        return foreground.attend(container.pid, foreground.Ends())
    finally:
        operate.delete(container, context.log.warning, force=True)


def spec(context: Context, flags: Flags, words: list[str]) -> int:
    """create a new specification file"""
    from . import example

    path = os.path.join(flags.value("bundle", "."), "config.json")
    if os.path.exists(path):
        raise InvalidArgument("File config.json exists. Remove it first")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(example.rootless() if flags.on("rootless") else example.config(), file, indent="\t")
    return 0


def features(context: Context, flags: Flags, words: list[str]) -> int:
    """show the enabled features"""
    from . import report

    print(json.dumps(report.features(), indent=4))
    return 0


def _options(context: Context, flags: Flags) -> Options:
    from .create import Options, connect

    path = flags.value("console-socket")
    return Options(
        pid_file=flags.value("pid-file"),
        console=connect(path) if path else -1,
        no_pivot=flags.on("no-pivot"),
        new_keyring=not flags.on("no-new-keyring"),
        preserved=flags.number("preserve-fds") or 0,
        may_lack_cgroup=_is_rootless(context.rootless),
        systemd=context.systemd,
        warn=context.log.warning,
    )


def _is_rootless(told: str) -> bool:
    """Whether we are to get along without root's rights over cgroups: as *told*, or by who we are.

    Raises:
        InvalidArgument: *told* is neither true, false nor auto.
    """
    if told in ("true", "false"):
        return told == "true"
    if told != "auto":
        raise InvalidArgument(f'invalid --rootless value "{told}": it is true, false or auto')
    if os.geteuid() != 0:
        return True
    with open("/proc/self/uid_map", encoding="utf-8") as file:
        return file.read().split() != ["0", "0", str(2**32 - 1)]


def _with_sockets(options: Options) -> Options:
    """Hand on the sockets of on-demand activation, if it is us to whom they were given: sd_listen_fds(3)."""
    count = os.environ.get("LISTEN_FDS", "0")
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or not count.isdecimal() or count == "0":
        return options
    names = os.environ.get("LISTEN_FDNAMES", "")
    told = [f"LISTEN_FDS={count}", "LISTEN_PID=1", *([f"LISTEN_FDNAMES={names}"] if names else [])]
    return options._replace(preserved=options.preserved + int(count), environment=tuple(told))
