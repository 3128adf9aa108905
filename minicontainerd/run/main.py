"""``minirunc``: the runtime's command line, as runc has it.

:data:`COMMANDS` is the whole of it: every command with its flags. A failure is an exception with runc's words; it is
logged here, and the status is 1 (``exec``: 255). To start fast, this imports little: neither argparse nor logging nor
dataclasses.

Read next: commands.py, create.py, then child.py. Source: runc@76d9cf5 main.go and the file of each command; man/.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn

from ..errors import ContainerdError, InvalidArgument
from . import commands, state
from . import flags as command_line
from .commands import Context
from .flags import MANY, SWITCH, VALUE, Flags
from .log import Log
from .words import CREATE_FAILED, EXEC_FAILED, RUN_FAILED, sentence

RELEASE = "0.1.0"

_FORKING = {"create", "run", "exec"}
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
    **dict.fromkeys(["detach", "tty", "no-new-privs", "ignore-paused"], SWITCH),
    **dict.fromkeys(["env", "cap", "additional-gids", "cgroup"], MANY),
}


class Command(NamedTuple):
    """One command: what it does, its flags and their letters, how many words it takes, how its errors begin."""

    function: Callable[[Context, Flags, list[str]], int]
    flags: dict[str, str]
    least: int = 1
    most: int | None = 1
    short: dict[str, str] = {}
    before_error: str = ""
    failure: int = 1


COMMANDS = {
    "create": Command(commands.create, _CREATE, short={"b": "bundle"}, before_error=CREATE_FAILED),
    "delete": Command(commands.delete, {"force": SWITCH}, short={"f": "force"}),
    "exec": Command(
        commands.execute,
        _EXEC,
        most=None,
        short={"d": "detach", "e": "env", "p": "process", "t": "tty", "u": "user", "c": "cap", "g": "additional-gids"},
        before_error=EXEC_FAILED,
        failure=255,
    ),
    "features": Command(commands.features, {}, least=0, most=0),
    "kill": Command(commands.kill, {"all": SWITCH}, most=2, short={"a": "all"}),
    "list": Command(commands.show_list, {"format": VALUE, "quiet": SWITCH}, 0, 0, {"f": "format", "q": "quiet"}),
    "pause": Command(commands.pause, {}),
    "ps": Command(commands.ps, {"format": VALUE}, most=None, short={"f": "format"}),
    "resume": Command(commands.resume, {}),
    "run": Command(
        commands.run,
        {**_CREATE, "detach": SWITCH, "keep": SWITCH, "no-subreaper": SWITCH},
        short={"b": "bundle", "d": "detach"},
        before_error=RUN_FAILED,
    ),
    "spec": Command(commands.spec, {"bundle": VALUE}, 0, 0, {"b": "bundle"}),
    "start": Command(commands.start, {}),
    "state": Command(commands.show_state, {}),
    "update": Command(
        commands.update,
        {
            "resources": VALUE,
            "cpuset-cpus": VALUE,
            "cpuset-mems": VALUE,
            **dict.fromkeys(commands.UPDATE_NUMBERS, VALUE),
        },
        short={"r": "resources"},
    ),
}


def main() -> NoReturn:
    """The program: do what the command line says and leave.

    It lives for milliseconds, so it neither collects garbage nor takes Python apart at the end; both would show.
    """
    gc.disable()
    if _FORKING.intersection(sys.argv):  # also where such a word means something else: it costs little
        from . import shelter

        shelter.enter()
    status = run_command(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def run_command(arguments: Sequence[str]) -> int:
    """Read the command line, do it, and say what went wrong. The status for the shell."""
    log = Log()
    try:
        flags, words = command_line.parse(arguments, _GLOBAL, {"h": "help", "v": "version"})
        log = Log(flags.value("log"), flags.value("log-format", "text"))
        if flags.on("version"):
            return _version()
        if flags.on("help") or not words or words[0] in ("help", "h"):
            return _help()
        if words[0] not in COMMANDS:
            log.error(f"No help topic for '{words[0]}'\n")
            return 3
        if flags.on("systemd-cgroup"):
            raise InvalidArgument("systemd cgroups are not driven here: leave out --systemd-cgroup")
    except ContainerdError as error:
        log.error(sentence(error))
        return 1
    return _dispatch(COMMANDS[words[0]], words, flags, log)


def _dispatch(command: Command, words: list[str], global_flags: Flags, log: Log) -> int:
    try:
        flags, rest = command_line.parse(words[1:], command.flags, command.short)
        if len(rest) < command.least or (command.most is not None and len(rest) > command.most):
            exact = "exactly" if command.least == command.most else "a minimum of"
            raise InvalidArgument(f'minirunc: "{words[0]}" requires {exact} {command.least} argument(s)')
    except InvalidArgument as error:
        log.error(sentence(error))
        return 1
    context = Context(global_flags.value("root", state.DEFAULT_ROOT), log)
    try:
        if path := global_flags.value("explain"):
            return _explained(path, command, context, flags, rest)
        return command.function(context, flags, rest)
    except (ContainerdError, OSError, ValueError, KeyError) as error:
        log.error(": ".join(part for part in (command.before_error, sentence(error)) if part))
        return command.failure


def _explained(path: str, command: Command, context: Context, flags: Flags, rest: list[str]) -> int:
    from ..linux.tell import Story, telling

    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    with telling(Story(descriptor, text=not path.endswith((".json", ".jsonl")), by="runtime")):
        return command.function(context, flags, rest)


def _version() -> int:
    print(f"minirunc version {RELEASE}\nspec: {state.VERSION}")
    return 0


def _help() -> int:
    lines = [f"   {name:<10} {command.function.__doc__}" for name, command in COMMANDS.items()]
    print("USAGE:\n   minirunc [global options] command [command options] [arguments...]\n\nCOMMANDS:")
    print("\n".join(lines))
    print("\nGLOBAL OPTIONS:\n   " + " ".join(f"--{name}" for name in _GLOBAL))
    return 0
