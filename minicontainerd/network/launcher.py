"""The programs of our plugins: a few lines each, that start Python with as little as it takes.

A plugin is a process per call, and containers wait for it. So the launcher runs Python without its site packages
(``-S``) and without looking at the user's environment (``-I``), says where this package is, and runs one module of it.
Because we know to the letter what a launcher of ours looks like, we also know one when we meet it in CNI_PATH, and can
call the module instead of starting a process.
"""

from __future__ import annotations

import os
import sys

from ..errors import FailedPrecondition

_TEMPLATE = """\
#!{python} -IS
# The CNI plugin {name} of minicontainerd.
import sys
sys.path.insert(0, {package!r})
from minicontainerd.network.plugins.{module} import PLUGIN
PLUGIN.main()
"""
_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
_LONGEST_INTERPRETER = 250  # the kernel reads 255 bytes of a script's first line


def text(name: str) -> str:
    """The program of the plugin *name*, for this installation."""
    python = os.path.realpath(sys.executable)
    return _TEMPLATE.format(python=python, name=name, module=name.replace("-", "_"), package=_PACKAGE)


def install(folder: str | os.PathLike[str], names: tuple[str, ...]) -> list[str]:
    """Put the programs of the plugins *names* into *folder*, each whole or not at all; gives their paths.

    Raises:
        FailedPrecondition: the path of Python is too long for the first line of a script.
    """
    if len(os.path.realpath(sys.executable)) > _LONGEST_INTERPRETER:
        raise FailedPrecondition(f"{sys.executable}: its path is too long to start a program with")
    os.makedirs(folder, mode=0o755, exist_ok=True)
    made = []
    for name in names:
        path = os.path.join(folder, name)
        draft = os.path.join(folder, f".{name}.{os.getpid()}")
        with open(draft, "w") as file:
            file.write(text(name))
        os.chmod(draft, 0o755)
        os.rename(draft, path)
        made.append(path)
    return made


def is_ours(program: str) -> bool:
    """Whether *program* is what :func:`install` puts there."""
    try:
        with open(program, encoding="utf-8") as file:
            return file.read(2000) == text(os.path.basename(program))
    except (OSError, ValueError):
        return False
