"""Options and rules of the whole suite: which target each seam is tested against, and that clauses are known ones.

Every test names with ``@pytest.mark.clause`` the sentences it checks. Their ids are the tables of
``conformance/clauses/*.toml``; an id that is not there stops the collection, so that a typing error is not a clause.
A test with parameters may name a clause for each: ``clause("config.mounts.option.{option}")``.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from conformance.clause_list import CLAUSES, all_clauses, named_by
from conformance.record import Recorder

NOT_RUN = "not run: "
"""How the reason of a deviation begins that would spoil the tests after it."""

SOMETIMES = "sometimes: "
"""And that of one which is a race, so that to do as the test asks is no error."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance", "what is under test")
    group.addoption("--runtime", default="runc", help="an OCI runtime: name or path of runc, crun, minirunc, ...")
    group.addoption("--target", default="containerd", help="a daemon: containerd or minicontainerd")
    group.addoption("--rounds", type=int, default=30, help="how many containers come and go, one after another")
    group.addoption("--cuts", type=int, default=3, help="how often the power is cut")
    group.addoption("--seed", type=int, default=1, help="at which moments")
    group.addoption(
        "--plugins",
        dest="cni_plugins",
        default="/usr/lib/cni",
        help="a folder of CNI plugins, or minicontainerd for ours",
    )
    group.addoption("--client", default="ctr", help="what speaks to the daemon: ctr or minictr")
    group.addoption("--record", metavar="FILE", help="keep what was found, for python -m conformance.report")
    crash = parser.getgroup("crash", "how much is broken")
    crash.addoption("--every", type=int, default=8, help="walk every n-th fault point, from a random one")
    crash.addoption("--kills", type=int, default=10, help="how often the storm kills the daemon")
    crash.addoption("--lives", type=int, default=60, help="how many containers one daemon sees")


def pytest_configure(config: pytest.Config) -> None:
    if config.option.record:
        if getattr(config.option, "numprocesses", None):
            raise pytest.UsageError("--record sees the tests of one process: leave -n out")
        config.pluginmanager.register(Recorder(config, Path(config.option.record).absolute()))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Every test of this folder names clauses, and each of them is known."""
    known = all_clauses()
    _expect_deviations(config, items)
    for item in items:
        if Path(__file__).parent not in item.path.parents:
            continue
        named = named_by(item)
        if not named:
            raise pytest.UsageError(f"{item.nodeid} names no clause")
        for id in named:
            if id not in known:
                raise pytest.UsageError(f"{item.nodeid}: no clause {id!r} in {CLAUSES.name}/")


def _expect_deviations(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what a target is known to do otherwise, with the reason; when it no longer does, that is an error too."""
    table = tomllib.loads((Path(__file__).parent / "deviations.toml").read_text())
    targets = {"runtime": Path(str(config.getoption("--runtime"))).name, "cni": str(config.getoption("cni_plugins"))}
    for seam, target in targets.items():
        mine = [item for item in items if item.path.parent.name == seam]
        for name, reason in table.get(target, {}).items():
            matching = [item for item in mine if name in (item.name, getattr(item, "originalname", ""))]
            if not matching and mine and not config.option.keyword and _is_whole_folder(config, seam):
                raise pytest.UsageError(f"deviations.toml: no test {name!r}")
            for item in matching:
                item.add_marker(_mark_of(reason))


def _mark_of(reason: str) -> pytest.MarkDecorator:
    if reason.startswith(NOT_RUN):
        return pytest.mark.skip(reason)
    return pytest.mark.xfail(reason=reason, strict=not reason.startswith(SOMETIMES))


def _is_whole_folder(config: pytest.Config, seam: str) -> bool:
    folder = Path(__file__).parent / seam
    return any(folder.is_relative_to(Path(argument).resolve()) for argument in config.args)
