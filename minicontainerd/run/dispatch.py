"""The runtime's command line, as runc has it.

:data:`COMMANDS` is the whole of it: every command with its flags. A failure is an exception with runc's words; it is
logged here, and the status is 1 (``exec``: 255). To start fast, this imports little: neither argparse nor logging nor
dataclasses.

Read next: commands.py, create.py, then child.py. Source: runc@76d9cf5 main.go and the file of each command; man/.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..errors import ContainerdError, InvalidArgument
from . import commands, state
from . import flags as command_line
from .commands import Context
from .flags import MANY, SWITCH, VALUE, Flags
from .log import Log
from .words import CREATE_FAILED, EXEC_FAILED, RUN_FAILED, sentence

RELEASE = "0.1.0"

_GLOBAL = {
    "root": VALUE,
    "log": VALUE,
    "log-format": VALUE,
    "debug": SWITCH,
    "systemd-cgroup": SWITCH,
    "rootless": VALUE,
    "criu": VALUE,
    "explain": VALUE,
    "help": SWITCH,
    "version": SWITCH,
}
_CREATE = {
    "bundle": VALUE,
    "pid-file": VALUE,
    "console-socket": VALUE,
    "no-pivot": SWITCH,
    "no-new-keyring": SWITCH,
    "preserve-fds": VALUE,
}
_EXEC = {
    **dict.fromkeys(["process", "pid-file", "console-socket", "user", "cwd", "preserve-fds"], VALUE),
    **dict.fromkeys(["process-label", "apparmor"], VALUE),
    **dict.fromkeys(["detach", "tty", "no-new-privs", "ignore-paused"], SWITCH),
    **dict.fromkeys(["env", "cap", "additional-gids", "cgroup"], MANY),
}
_CRIU = {
    **dict.fromkeys(["image-path", "work-path", "parent-path", "status-fd", "manage-cgroups-mode", "empty-ns"], VALUE),
    **dict.fromkeys(["tcp-established", "ext-unix-sk", "shell-job", "lazy-pages", "file-locks", "auto-dedup"], SWITCH),
}
_CHECKPOINT = {**_CRIU, "page-server": VALUE, "leave-running": SWITCH, "pre-dump": SWITCH}
_RESTORE = {
    **_CRIU,
    **dict.fromkeys(["bundle", "console-socket", "pid-file", "lsm-profile", "lsm-mount-context"], VALUE),
    **dict.fromkeys(["detach", "no-subreaper", "no-pivot"], SWITCH),
}
_UPDATE = dict.fromkeys(
    [
        *("resources", "blkio-weight", "cpu-period", "cpu-quota", "cpu-burst", "cpu-share", "cpu-idle"),
        *("cpu-rt-period", "cpu-rt-runtime", "cpuset-cpus", "cpuset-mems", "kernel-memory", "kernel-memory-tcp"),
        *("memory", "memory-reservation", "memory-swap", "pids-limit", "l3-cache-schema", "mem-bw-schema"),
    ],
    VALUE,
)


class Command(NamedTuple):
    """One command: what it does, its flags and their letters, how many words it takes, which, how its errors begin."""

    function: Callable[[Context, Flags, list[str]], int]
    flags: dict[str, str]
    least: int = 1
    most: int | None = 1
    short: dict[str, str] = {}
    words: str = "<container-id>"
    before_error: str = ""
    failure: int = 1


COMMANDS = {
    "checkpoint": Command(commands.checkpoint, _CHECKPOINT),
    "create": Command(commands.create, _CREATE, short={"b": "bundle"}, before_error=CREATE_FAILED),
    "delete": Command(commands.delete, {"force": SWITCH}, short={"f": "force"}),
    "events": Command(commands.events, {"interval": VALUE, "stats": SWITCH}),
    "exec": Command(
        commands.execute,
        _EXEC,
        most=None,
        words="<container-id> <command> [arguments...] || -p process.json <container-id>",
        short={"d": "detach", "e": "env", "p": "process", "t": "tty", "u": "user", "c": "cap", "g": "additional-gids"},
        before_error=EXEC_FAILED,
        failure=255,
    ),
    "features": Command(commands.features, {}, 0, 0, words=""),
    "kill": Command(commands.kill, {"all": SWITCH}, 1, 2, {"a": "all"}, words="<container-id> [signal]"),
    "list": Command(commands.show_list, {"format": VALUE, "quiet": SWITCH}, 0, 0, {"f": "format", "q": "quiet"}, ""),
    "pause": Command(commands.pause, {}),
    "ps": Command(commands.ps, {"format": VALUE}, 1, None, {"f": "format"}, words="<container-id> [ps options]"),
    "restore": Command(commands.restore, _RESTORE, short={"b": "bundle", "d": "detach"}),
    "resume": Command(commands.resume, {}),
    "run": Command(
        commands.run,
        {**_CREATE, "detach": SWITCH, "keep": SWITCH, "no-subreaper": SWITCH},
        short={"b": "bundle", "d": "detach"},
        before_error=RUN_FAILED,
    ),
    "spec": Command(commands.spec, {"bundle": VALUE, "rootless": SWITCH}, 0, 0, {"b": "bundle"}, words=""),
    "start": Command(commands.start, {}),
    "state": Command(commands.show_state, {}),
    "update": Command(commands.update, _UPDATE, short={"r": "resources"}),
}
_HELP, _SHORT = ("help", "h"), {"h": "help", "v": "version"}


def run_command(arguments: Sequence[str]) -> int:
    """Read the command line, do it, and say what went wrong. The status for the shell."""
    log = Log()
    try:
        flags, words = command_line.parse(arguments, _GLOBAL, _SHORT)
        log = Log(flags.value("log"), _log_format(flags))
        if flags.on("version"):
            return _version()
        if flags.on("help") or not words or words[0] in _HELP:
            return _help(words[1] if words[1:] and words[0] in _HELP else "", log)
        if words[0] not in COMMANDS:
            return _no_such_command(words[0], log)
    except ContainerdError as error:
        log.error(sentence(error))
        return 1
    return _dispatch(COMMANDS[words[0]], words, flags, log)


def _dispatch(command: Command, words: list[str], global_flags: Flags, log: Log) -> int:
    name = words[0]
    try:
        flags, rest = command_line.parse(words[1:], {**command.flags, "help": SWITCH}, {"h": "help", **command.short})
        if flags.on("help"):
            return _help(name, log)
        if len(rest) < command.least or (command.most is not None and len(rest) > command.most):
            exact = "exactly" if command.least == command.most else "a minimum of"
            number = command.least
            if command.most and len(rest) > command.most != command.least:
                exact, number = "a maximum of", command.most
            raise InvalidArgument(f'minirunc: "{name}" requires {exact} {number} argument(s)')
    except InvalidArgument as error:
        print(f"Incorrect Usage: {sentence(error)}\n")
        _help(name, log)
        log.error(sentence(error))
        return 1
    context = Context(
        global_flags.value("root", state.default_root()),
        log,
        global_flags.value("criu", "criu"),
        global_flags.value("rootless", "auto"),
        global_flags.on("systemd-cgroup"),
    )
    try:
        if path := global_flags.value("explain"):
            return _explained(path, command, context, flags, rest)
        return command.function(context, flags, rest)
    except (ContainerdError, OSError, ValueError, KeyError) as error:
        log.error(": ".join(part for part in (command.before_error, sentence(error)) if part))
        return command.failure


def _log_format(flags: Flags) -> str:
    format = flags.value("log-format", "text")
    if format not in ("text", "json"):
        raise InvalidArgument("invalid log-format: " + format)
    return format


def _explained(path: str, command: Command, context: Context, flags: Flags, rest: list[str]) -> int:
    from ..linux.tell import Story, telling

    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    with telling(Story(descriptor, text=not path.endswith((".json", ".jsonl")), by="runtime")):
        return command.function(context, flags, rest)


def _version() -> int:
    print(f"minirunc version {RELEASE}\nspec: {state.VERSION}")
    return 0


def _help(name: str, log: Log) -> int:
    from . import help

    if not name:
        print(help.of_program(COMMANDS, _GLOBAL, _SHORT))
    elif name in COMMANDS:
        print(help.of_command(name, COMMANDS[name]))
    else:
        return _no_such_command(name, log)
    return 0


def _no_such_command(name: str, log: Log) -> int:
    log.error(f"No help topic for '{name}'\n")
    return 3
