"""``minictr run``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from minicontainerd.cli.explain import explained, told
from minicontainerd.cli.network_flags import Attaching, NetworkFlags, leave_networks, network_flags
from minicontainerd.cli.output import warn
from minicontainerd.cli.spec_flags import Flags, create_container, spec_flags, split_arguments
from minicontainerd.client import Client, container
from minicontainerd.client.process import Running
from minicontainerd.client.streams import FOLDER, Streams
from minicontainerd.errors import ContainerdError, NotFound


@click.command(context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@spec_flags
@network_flags
@click.option("--rm", "remove", is_flag=True, help="Remove the container after it has ended.")
@click.option("--detach", "-d", is_flag=True, help="Return as soon as it runs.")
@click.option("--null-io", is_flag=True, help="Throw its output away.")
@click.option("--log-uri", default="", help="Where its output goes: file:///path, binary:///path?args.")
@click.option("--fifo-dir", default=FOLDER, help="Where FIFOs are made.")
@click.option("--explain", is_flag=True, help="Tell every step on standard error, down to the system calls.")
@click.argument("arguments", nargs=-1, metavar="IMAGE|ROOTFS ID [COMMAND] [ARG...]")
@click.pass_obj
def run(
    client: Client,
    flags: Flags,
    remove: bool,
    detach: bool,
    null_io: bool,
    log_uri: str,
    fifo_dir: str,
    explain: bool,
    network: NetworkFlags,
    arguments: tuple[str, ...],
) -> int:
    """Run a command in a new container; exits with its exit code."""
    ref, id, command = split_arguments(flags, arguments)
    if remove and detach:
        raise click.UsageError("flags --detach and --rm cannot be specified together")
    attaching = Attaching(client, id, network)
    with explained(explain, flags) as flags:
        create_container(client, attaching.with_mounts(flags), ref, id, command)
        try:
            wanted = Output(null_io, log_uri, fifo_dir)
            return run_task(
                client,
                id,
                wanted,
                terminal=flags.tty,
                detach=detach,
                pid_file=flags.pid_file,
                attach=attaching.attach(flags) if attaching.networks or attaching.files else None,
            )
        finally:
            if not detach:
                with told(flags, by="network"):
                    leave_networks(client, id)
            if remove:
                _remove(client, id)


class Output:
    """Where a process's output goes: nowhere, to a logger, or through FIFOs below a folder."""

    def __init__(self, null: bool = False, log_uri: str = "", fifo_dir: str = FOLDER) -> None:
        self.null = null
        self.log_uri = log_uri
        self.fifo_dir = fifo_dir

    def streams(self, name: str, *, terminal: bool) -> Streams | None:
        """The FIFOs, if FIFOs are wanted."""
        if self.null or self.log_uri:
            return None
        return Streams(name, terminal=terminal, folder=self.fifo_dir)


def run_task(
    client: Client,
    id: str,
    output: Output,
    *,
    terminal: bool = False,
    detach: bool = False,
    pid_file: str = "",
    attach: Callable[[int], None] | None = None,
) -> int:
    """Create and start a task for the container *id*; answers its exit code, or at once 0 with *detach*.

    *attach* is called in between, with the pid of its first process, which waits for its network then.
    """
    streams = output.streams(id, terminal=terminal)
    try:
        request = container.task_request(
            client, client.containers.get(id), streams, log_uri=output.log_uri, terminal=terminal
        )
        pid = client.tasks.create(request)
        if pid_file:
            Path(pid_file).write_text(str(pid))
        if attach is not None:
            _attach(client, id, pid, attach)
        if detach:
            client.tasks.start(id)
            return 0
        return _until_end(client, id, streams, terminal=terminal)
    except BaseException:
        if detach and streams is not None:
            streams.close()
        raise
    finally:
        if streams is not None and not detach:
            streams.close()


def _attach(client: Client, id: str, pid: int, attach: Callable[[int], None]) -> None:
    try:
        attach(pid)
    except BaseException:
        _kill(client, id)
        raise


def _until_end(client: Client, id: str, streams: Streams | None, *, terminal: bool) -> int:
    running = Running(client, id)
    try:
        if streams is None:
            running.start()
            running.forward_signals()
            status = running.wait()
        else:
            status = running.converse(streams, terminal=terminal)
        client.tasks.delete(id)
        return status
    except BaseException:
        _kill(client, id)
        raise


def _kill(client: Client, id: str) -> None:
    """A task that could not be brought to its end is ended by force."""
    try:
        client.tasks.kill(id, 9, all=True)
        client.tasks.wait(id)
    except ContainerdError:
        pass  # it never ran, or is gone
    try:
        client.tasks.delete(id)
    except NotFound:
        pass
    except ContainerdError as error:
        warn(f"failed to cleanup task: {error}")


def _remove(client: Client, id: str) -> None:
    try:
        container.delete(client, id)
    except ContainerdError as error:
        warn(f"failed to cleanup container: {error}")
