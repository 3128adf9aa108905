"""The programs of our plugins: a few lines each, that start Python with as little as it takes.

A plugin is a process per call, and containers wait for it. So the launcher runs Python without its site packages
(``-S``) and without looking at the user's environment (``-I``), says where this package is, and runs one module of it.
Because we know to the letter what a launcher of ours looks like, we also know one when we meet it in CNI_PATH, and can
call the module instead of starting a process.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ..errors import FailedPrecondition

_TEMPLATE = """\
#!{python} -IS
# The CNI plugin {name} of minicontainerd.
import sys
sys.path.insert(0, {package!r})
from minicontainerd.network.plugins.{module} import PLUGIN
PLUGIN.main()
"""
_PACKAGE = str(Path(__file__).resolve().parents[2])
_LONGEST_INTERPRETER = 250  # the kernel reads 255 bytes of a script's first line


def text(name: str) -> str:
    """The program of the plugin *name*, for this installation."""
    python = os.path.realpath(sys.executable)
    return _TEMPLATE.format(python=python, name=name, module=name.replace("-", "_"), package=_PACKAGE)


def install(folder: str | os.PathLike[str], names: tuple[str, ...]) -> list[Path]:
    """Put the programs of the plugins *names* into *folder*, each whole or not at all; gives their paths.

    Raises:
        FailedPrecondition: the path of Python is too long for the first line of a script.
    """
    if len(os.path.realpath(sys.executable)) > _LONGEST_INTERPRETER:
        raise FailedPrecondition(f"{sys.executable}: its path is too long to start a program with")
    Path(folder).mkdir(mode=0o755, parents=True, exist_ok=True)
    made = []
    for name in names:
        path = Path(folder, name)
        draft = path.with_name(f".{name}.{os.getpid()}")
        draft.write_text(text(name))
        draft.chmod(0o755)
        draft.rename(path)
        made.append(path)
    return made


def is_ours(program: str) -> bool:
    """Whether *program* is what :func:`install` puts there."""
    try:
        with open(program, encoding="utf-8") as file:
            return file.read(2000) == text(os.path.basename(program))
    except (OSError, ValueError):
        return False
