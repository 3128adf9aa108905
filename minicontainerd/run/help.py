"""What the command line says of itself: ``--help``, of the program and of each command, in the layout of runc's.

People read it, and scripts look in it for a flag before they use that: so every flag has its line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .flags import SWITCH

if TYPE_CHECKING:
    from .dispatch import Command

ABOUT = """minirunc runs a container from a bundle: a folder with a config.json and a root filesystem. The simplest:

    # minirunc spec
    # minirunc run mycontainer"""

FLAGS = {
    "additional-gids": "one more group id; can be given several times",
    "all": "send the signal to every process of the container",
    "apparmor": "the AppArmor profile for the process",
    "auto-dedup": "remove what memory images have twice",
    "blkio-weight": "the share of the disks' time, 10 to 1000",
    "bundle": "the bundle's folder (default: the current one)",
    "cap": "one more capability for the process; can be given several times",
    "cgroup": "run in this group below the container's, which must be there; / is the container's own and no other",
    "config": "a file of CRIU's options",
    "console-socket": "a unix socket to which the master of the process's terminal is sent",
    "cpu-burst": "what may be saved for a busy period, in microseconds",
    "cpu-idle": "1: only what nobody else wants",
    "cpu-period": "the period of --cpu-quota, in microseconds",
    "cpu-quota": "the time in each period, in microseconds; -1 is no limit",
    "cpu-rt-period": "the period of real-time scheduling; version 1 of cgroups alone has it",
    "cpu-rt-runtime": "the time of real-time scheduling; version 1 of cgroups alone has it",
    "cpu-share": "the share of the processors, 1024 is normal",
    "cpuset-cpus": "the processors, like 0-3,7",
    "cpuset-mems": "the memory nodes, like 0-3,7",
    "criu": "where CRIU is",
    "cwd": "the folder in which the process begins",
    "debug": "say more in the log",
    "detach": "do not wait for the process",
    "empty-ns": "a namespace that is restored without its properties",
    "env": "NAME=VALUE for the process; can be given several times",
    "explain": "a file for the steps, told down to the system calls; as JSON if its name ends so",
    "ext-unix-sk": "allow connections of unix sockets to the outside",
    "file-locks": "keep locks of files",
    "force": "end the container first if it runs, with SIGKILL",
    "format": "table or json (default: table)",
    "help": "show help",
    "ignore-paused": "go on though the container is paused; the process waits until it is resumed",
    "image-path": "where the checkpoint is",
    "interval": "the time between two lines, like 5s (default: 5s)",
    "keep": "do not delete the container at the end",
    "kernel-memory": "passed over: the kernel has no such limit any more",
    "kernel-memory-tcp": "passed over: the kernel has no such limit any more",
    "l3-cache-schema": "Intel RDT's caches; refused, resctrl is not driven here",
    "lazy-pages": "fetch memory when it is used",
    "leave-running": "let the container go on after the checkpoint",
    "log": "the file of the log (default: standard error)",
    "log-format": "text or json (default: text)",
    "lsm-mount-context": "the label of restored mounts",
    "lsm-profile": "the profile of the restored process",
    "manage-cgroups-mode": "how groups are restored",
    "mem-bw-schema": "Intel RDT's memory bandwidth; refused, resctrl is not driven here",
    "memory": "bytes of memory, or with a unit like 64m; -1 is no limit",
    "memory-reservation": "bytes that are taken back last",
    "memory-swap": "bytes of memory and swap together",
    "no-new-keyring": "keep the caller's session keyring",
    "no-new-privs": "let the process gain no rights by execve",
    "no-pivot": "change the root without pivot_root, for a rootfs on the initial ramdisk",
    "no-subreaper": "do not adopt processes that lose their parent",
    "page-server": "where a server of memory pages listens",
    "parent-path": "an earlier checkpoint",
    "pid-file": "a file for the process's number",
    "pids-limit": "how many processes there may be; -1 is no limit",
    "pre-dump": "the memory alone, before the checkpoint proper",
    "preserve-fds": "how many descriptors after standard error, and those of LISTEN_FDS, the process has as well",
    "process": "a file with the process in JSON; other flags about it say nothing then",
    "process-label": "the SELinux label for the process",
    "quiet": "ids alone",
    "resources": "a file with limits in JSON, - for standard input; other flags say nothing then",
    "root": "the folder of the containers' records",
    "rootless": "whether cgroups that cannot be changed are passed over: true, false or auto (default: auto)",
    "shell-job": "allow a terminal of the caller's",
    "stats": "one line, and no more",
    "status-fd": "a descriptor on which CRIU says that it is ready",
    "systemd-cgroup": "let systemd make the cgroup; cgroupsPath is slice:prefix:name",
    "tcp-established": "allow open connections",
    "tty": "give the process a terminal",
    "user": "UID[:GID] of the process",
    "version": "print the version",
    "work-path": "where CRIU works and logs",
}
"""A line for each flag; none means another thing in another command."""


def of_program(commands: Mapping[str, Command], flags: Mapping[str, str], short: Mapping[str, str]) -> str:
    """Help of the whole."""
    rows = [(name, command.function.__doc__ or "") for name, command in commands.items()]
    rows.append(("help, h", "show the commands, or help of one"))
    return "\n".join(
        [
            f"NAME:\n   minirunc - a runtime for OCI containers\n\n{ABOUT}\n",
            "USAGE:\n   minirunc [global options] command [command options] [arguments...]\n",
            f"COMMANDS:\n{_columns(rows)}\n",
            f"GLOBAL OPTIONS:\n{_options(flags, short)}",
        ]
    )


def of_command(name: str, command: Command) -> str:
    """Help of one command."""
    options = " [command options]" if command.flags else ""
    parts = [
        f"NAME:\n   minirunc {name} - {command.function.__doc__}\n",
        f"USAGE:\n   minirunc {name}{options} {command.words}".rstrip() + "\n",
    ]
    if command.flags:
        parts.append(f"OPTIONS:\n{_options(command.flags, command.short)}\n")
    return "\n".join(parts).rstrip("\n")


def _options(flags: Mapping[str, str], short: Mapping[str, str]) -> str:
    letters = {name: letter for letter, name in short.items()}
    rows = []
    for name, kind in flags.items():
        value = "" if kind == SWITCH else " value"
        letter = f", -{letters[name]}{value}" if name in letters else ""
        rows.append((f"--{name}{value}{letter}", FLAGS[name]))
    return _columns(rows)


def _columns(rows: list[tuple[str, str]]) -> str:
    width = 2 + max(len(first) for first, _ in rows)
    return "\n".join(f"   {first.ljust(width)}{second}" for first, second in rows)
