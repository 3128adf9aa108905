"""The command ``minicontainerd``, with containerd's flags."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from pathlib import Path

import click

import minicontainerd
from minicontainerd.daemon import config as configuration
from minicontainerd.daemon.config import Config
from minicontainerd.daemon.launcher import find_binary
from minicontainerd.daemon.zygote import Zygote
from minicontainerd.errors import ContainerdError, InvalidArgument
from minicontainerd.network import launcher
from minicontainerd.network.attach import PATH as DEFAULT_PATH
from minicontainerd.network.config import FOLDER as DEFAULT_FOLDER
from minicontainerd.network.config import write_default
from minicontainerd.network.plugins import NAMES

LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
    "panic": logging.CRITICAL,
}


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", "-c", "path", default=configuration.DEFAULT_PATH, help="The configuration file.")
@click.option("--log-level", "-l", help="How much to log: trace, debug, info, warn, error, fatal, panic.")
@click.option("--address", "-a", help="The socket to serve on.")
@click.option("--root", help="The folder for what survives a reboot.")
@click.option("--state", help="The folder for what need not.")
@click.version_option(minicontainerd.__version__, "--version", "-v", message="minicontainerd %(version)s")
@click.pass_context
def command(
    context: click.Context, path: str, log_level: str | None, address: str | None, root: str | None, state: str | None
) -> None:
    """A container daemon that speaks containerd's API.

    Without a command it serves in the foreground. Flags win over the configuration file.
    """
    config = configuration.load(path)
    config.debug.level = log_level or config.debug.level
    config.grpc.address = address or config.grpc.address
    config.root = root or config.root
    config.state = state or config.state
    context.obj = config
    if context.invoked_subcommand is None:
        run(config)


@command.group()
def config() -> None:
    """Show the configuration."""


@config.command()
def default() -> None:
    """Print what is built in."""
    click.echo(configuration.dump(Config()), nl=False)


@config.command()
@click.pass_obj
def dump(config: Config) -> None:
    """Print what is in force: the file, and the flags over it."""
    click.echo(configuration.dump(config), nl=False)


@command.command()
@click.option("--repair", is_flag=True, help="Drop what is broken, and say what.")
@click.pass_obj
def check(config: Config, repair: bool) -> None:
    """Read back all that the store promises: every blob's digest, every row's references, every snapshot's folder.

    Ends with 1 if something is broken and was not dropped. No daemon may run on the same root.
    """
    from minicontainerd.daemon import check as checking  # it loads the whole store, and serving needs no check

    report = checking.check(Path(config.root), repair=repair)
    for problem in report.problems:
        click.echo(f"{'dropped: ' if repair and problem.drop else ''}{problem}")
    counted = ", ".join(f"{number} {name}" for name, number in report.looked_at.items())
    click.echo(f"{len(report.problems)} problems, {report.dropped} dropped; looked at {counted}")
    sys.exit(1 if len(report.problems) > report.dropped else 0)


@command.group()
def cni() -> None:
    """Our CNI plugins."""


@cni.command("install")
@click.option("--network", is_flag=True, help="Configure a network as well, if there is none.")
@click.option("--conf-dir", default=DEFAULT_FOLDER, show_default=True, help="Where networks are configured.")
@click.argument("folder", default=DEFAULT_PATH[0])
def install_cni(network: bool, conf_dir: str, folder: str) -> None:
    """Put the plugins into FOLDER, which is /opt/cni/bin if none is given."""
    for path in launcher.install(folder, NAMES):
        click.echo(path)
    if network and (written := write_default(conf_dir)):
        click.echo(str(written))


def run(config: Config) -> None:
    """Serve as *config* says, until a signal."""
    if config.debug.level not in LEVELS:
        raise InvalidArgument(f"log level {config.debug.level!r} is none of {', '.join(LEVELS)}")
    logging.basicConfig(
        level=LEVELS[config.debug.level], format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    for noisy in ("httpx", "httpcore", "hpack", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    config.root, config.state = str(Path(config.root).absolute()), str(Path(config.state).absolute())
    config.grpc.address = str(Path(config.grpc.address.removeprefix("unix://")).absolute())
    with contextlib.closing(_start_zygote()) as zygote:
        from minicontainerd.daemon.server import serve  # it loads everything, and the zygote does so at the same time

        asyncio.run(serve(config, zygote))


def _start_zygote() -> Zygote:
    zygote = Zygote(find_binary(""))
    try:
        zygote.start()
    except OSError as error:
        logging.getLogger(__name__).warning("no zygote, so shims will be slow to start: %s", error)
    return zygote


def main() -> None:
    """Run the command; an error that has a meaning is one line."""
    try:
        command(standalone_mode=False, prog_name="minicontainerd")
    except click.ClickException as error:
        sys.exit(f"minicontainerd: {error.format_message()}")
    except (ContainerdError, OSError) as error:
        sys.exit(f"minicontainerd: {error}")
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
