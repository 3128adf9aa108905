"""The command ``minictr``: its global flags, its groups with their aliases, and how errors end it.

As with ctr: an error is one line ``ctr: <reason>`` and exit code 1; an unknown command is code 3; ``run`` exits with
the container's own code.
"""

from __future__ import annotations

import sys
from typing import Any

import click

import minicontainerd
from minicontainerd.cli.aliases import AliasGroup
from minicontainerd.errors import ContainerdError

DEFAULT_ADDRESS = "/run/minicontainerd/minicontainerd.sock"
NO_SUCH_COMMAND = 3


class Root(AliasGroup):
    """Loads the file of a group only when it is asked for: a small command should not wait for a large one."""

    groups = {
        "containers": ("containers", ["c", "container"]),
        "content": ("content", []),
        "events": ("events", ["event"]),
        "images": ("images", ["image", "i"]),
        "leases": ("leases", []),
        "network": ("network", ["networks", "net"]),
        "namespaces": ("namespaces", ["namespace", "ns"]),
        "oci": ("oci", []),
        "plugins": ("plugins", ["plugin"]),
        "run": ("run", []),
        "snapshots": ("snapshots", ["snapshot"]),
        "tasks": ("tasks", ["task", "t"]),
        "version": ("version", []),
    }

    def list_commands(self, context: click.Context) -> list[str]:
        """All of them, sorted."""
        return sorted(self.groups)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The group or command of that name or alias."""
        for full, (module, aliases) in self.groups.items():
            if name == full or name in aliases:
                loaded = __import__(f"minicontainerd.cli.{module}", fromlist=[full])
                command: click.Command = getattr(loaded, full)
                return command
        return None


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show where an error came from.")
@click.option("--address", "-a", default=DEFAULT_ADDRESS, envvar="CONTAINERD_ADDRESS", help="The daemon's socket.")
@click.option("--timeout", type=float, help="Seconds that the daemon has for one answer.")
@click.option("--connect-timeout", type=float, help="Seconds that connecting may take.")
@click.option("--namespace", "-n", default="default", envvar="CONTAINERD_NAMESPACE", help="Whose names are meant.")
@click.version_option(minicontainerd.__version__, "--version", "-v", message="minictr %(version)s")
@click.pass_context
def command(
    context: click.Context,
    debug: bool,
    address: str,
    timeout: float | None,
    connect_timeout: float | None,
    namespace: str,
) -> None:
    """A client for containerd, command for command like ctr."""
    from minicontainerd.client import Client

    context.obj = context.with_resource(Client(address, namespace, timeout or connect_timeout))
    context.meta["debug"] = debug


def main() -> None:
    """Run the command and exit as ctr does."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line; answers its exit code."""
    try:
        result: Any = command(arguments, standalone_mode=False, prog_name="minictr")
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 0
    except click.UsageError as error:
        if "No such command" in error.message:
            click.echo(f"No help topic for {error.message.removeprefix('No such command ').rstrip('.')}", err=True)
            return NO_SUCH_COMMAND
        click.echo(f"ctr: {error.format_message()}", err=True)
        return 1
    except click.ClickException as error:
        click.echo(f"ctr: {error.format_message()}", err=True)
        return 1
    except (ContainerdError, OSError) as error:
        if "--debug" in arguments:
            raise
        click.echo(f"ctr: {error}", err=True)
        return 1
    except (KeyboardInterrupt, click.Abort):
        return 130
    return result if isinstance(result, int) else 0
