"""pytest's side here: ``--in-vm`` sends the selected tests into a guest and shows their results as if they ran here.

Collection happens here, where it is quick. What is selected runs in the guest as one pytest run, since a connection
for each assertion would cost more than the tests. Each report comes back as it is made, and goes through the same
hooks as a report from this process, so the terminal, JUnit files and ``--maxfail`` work as ever. With ``-n 2`` there
are two guests, and files are dealt out to them.

Otherwise tests run here, and those whose needs (see ``needs``) this host does not meet go to guests, two at a time,
after the others. With ``--vm=never``, or where no guest can be started, they are skipped with that reason.
"""

from __future__ import annotations

import json
import os
import queue
import shlex
import threading
import uuid
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import pytest

from vm import host, needs
from vm.recipe import ROOT, Recipe

MARK = "\x1e"
"""Begins a line that the guest's side sends: ASCII's record separator."""

OURS = ("--in-vm", "--vm")
PATHS = ("--junitxml", "--junit-xml", "--basetemp", "--log-file", "--record", "--cov-report")
"""Options that are about this side."""

GUESTS_AT_ONCE = 2
"""Unless ``-n`` asks for more. Tests that need another kind of guest wait for a place, for without KVM a guest takes a
core."""

COVERAGE = "/run/coverage"
"""Where pytest-cov keeps in the guest what ran there. It comes back beside the file of this side's run, which takes in
what it finds there; that /src is the top of the repository, pyproject.toml tells it."""


ENVIRONMENT = (  # plugins that nobody asked for take seconds to import in the guest
    "export PATH=/opt/venv/bin:$PATH HOME=/root PYTHONDONTWRITEBYTECODE=1 PYTEST_DISABLE_PLUGIN_AUTOLOAD=1"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("vm", "tests in a virtual machine")
    group.addoption("--in-vm", action="store_true", help="run the selected tests in a guest")
    group.addoption(
        "--vm", choices=("auto", "never"), default="auto", help="auto: tests whose needs this host lacks go to a guest"
    )


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, Any, Any]:
    """``-n`` means guests with ``--in-vm``, not processes; so xdist is told of none."""
    config.stash[GUESTS] = 1 if config.option.in_vm else GUESTS_AT_ONCE
    if config.option.in_vm and getattr(config.option, "numprocesses", None):
        config.stash[GUESTS] = int(config.option.numprocesses)
        config.option.numprocesses, config.option.dist, config.option.tx = None, "no", []
    return (yield)


GUESTS = pytest.StashKey[int]()
REMOTE = pytest.StashKey[list[pytest.Item]]()
MISSING = pytest.StashKey[str]()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Judge each test's needs by this host, and decide where it runs."""
    no_guest = "" if config.option.in_vm else _no_guest(config)
    for item in items:
        reasons = [_reason(item, name) for name in _needs(item)]
        item.stash[MISSING] = "; ".join(filter(None, reasons))
        if item.stash[MISSING] and no_guest:
            item.add_marker(pytest.mark.skip(reason=f"{item.stash[MISSING]}; {no_guest}"))
            item.stash[MISSING] = ""


def _no_guest(config: pytest.Config) -> str:
    """Why no test goes to a guest; empty if some may."""
    if config.option.vm == "never":
        return "--vm=never"
    if getattr(config.option, "numprocesses", None) or hasattr(config, "workerinput"):
        return "with -n, only --in-vm starts guests"
    try:
        host.expect_programs()
    except host.NotHere as reason:
        return str(reason)
    return ""


def _reason(item: pytest.Item, name: str) -> str:
    try:
        return needs.reason_against(name)
    except KeyError:
        raise pytest.UsageError(f"{item.nodeid}: no such need: {name!r} (vm/needs.py has those there are)") from None


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, Any, Any]:
    """Run here what runs here, then the rest over there."""
    option = session.config.option
    remote = [item for item in session.items if option.in_vm or item.stash.get(MISSING, "")]
    if option.collectonly or not remote:
        return (yield)
    session.items[:] = [item for item in session.items if item not in remote]
    try:
        result = yield
    finally:
        session.items.extend(remote)
    if remote and not session.shouldfail and not session.shouldstop:
        _run_remote(session, remote)
    return result


def _run_remote(session: pytest.Session, items: list[pytest.Item]) -> None:
    """Run *items* in guests, and give every report to the hooks, in this thread."""
    reports: queue.Queue[tuple[str, Any]] = queue.Queue()
    stop = threading.Event()
    places = threading.Semaphore(max(GUESTS_AT_ONCE, session.config.stash[GUESTS]))
    threads = [
        threading.Thread(target=_guest, args=(session.config, variant, ids, reports, stop, places))
        for variant, some in by_variant(items).items()
        for ids in deal(some, session.config.stash[GUESTS])
        if ids
    ]
    for thread in threads:
        thread.start()
    by_id = {item.nodeid: item for item in items}
    running, done = len(threads), set[str]()
    while running:
        kind, value = reports.get()
        if kind == "end":
            running -= 1
            _fail_missing(session, [by_id[id] for id in value[0] if id not in done], value[1])
        elif kind == "start" and value in by_id:
            session.ihook.pytest_runtest_logstart(nodeid=value, location=by_id[value].location)
        elif kind == "report":
            report = _report(value)
            session.ihook.pytest_runtest_logreport(report=report)
            if report.when == "teardown":
                done.add(report.nodeid)
                session.ihook.pytest_runtest_logfinish(nodeid=report.nodeid, location=report.location)
        if session.shouldfail or session.shouldstop:
            stop.set()
    for thread in threads:
        thread.join()
    if session.shouldfail:
        raise session.Failed(session.shouldfail)


def _report(data: dict[str, Any]) -> pytest.TestReport:
    """A report as it was there, with the place of a skip as it is here."""
    if isinstance(data.get("longrepr"), list):  # JSON has no tuples
        path, line, reason = data["longrepr"]
        data["longrepr"] = (path.replace("/src", str(ROOT), 1), line, reason)
    return pytest.TestReport._from_json(data)


def by_variant(items: Iterable[pytest.Item]) -> dict[str, list[pytest.Item]]:
    """The tests for each kind of guest, by what they need."""
    found: dict[str, list[pytest.Item]] = {}
    for item in items:
        found.setdefault(needs.variant_for(_needs(item)), []).append(item)
    return found


def _needs(item: pytest.Item) -> list[str]:
    return [str(name) for mark in item.iter_markers("needs") for name in mark.args]


def deal(items: Iterable[pytest.Item], guests: int) -> list[list[str]]:
    """Deal the files out, the longest first, so that each guest has about as many tests."""
    files: dict[str, list[str]] = {}
    for item in items:
        files.setdefault(item.nodeid.partition("::")[0], []).append(item.nodeid)
    shares: list[list[str]] = [[] for _ in range(guests)]
    for ids in sorted(files.values(), key=len, reverse=True):
        min(shares, key=len).extend(ids)
    return shares


def _fail_missing(session: pytest.Session, items: list[pytest.Item], said: str) -> None:
    """A test that sent no report has failed: the guest died, or its pytest did. Once is enough to tell why."""
    for number, item in enumerate(items):
        if session.shouldfail or session.shouldstop:
            return
        reason = f"no result came from the guest\n{said}" if number == 0 else "no result came from the guest"
        report = pytest.TestReport(item.nodeid, item.location, {}, "failed", reason, "call")
        session.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        session.ihook.pytest_runtest_logreport(report=report)


def guest_arguments(arguments: Iterable[str], top: Path, here: Path) -> list[str]:
    """The command line for the guest: without what concerns this side, and with paths as they are there.

    >>> guest_arguments(["--in-vm", "-n", "2", "-x", "--junitxml=a.xml", "/top/tests"], Path("/top"), Path("/top"))
    ['-x', '/src/tests']
    """
    kept: list[str] = []
    words = iter(arguments)
    for word in words:
        name, equals, _ = word.partition("=")
        if name in OURS or name in PATHS or word.startswith("-n"):
            if not equals and (word in ("--vm", "-n") or name in PATHS):
                next(words, None)
            continue
        kept.append(str(Path("/src", *Path(word).relative_to(top).parts)) if word.startswith(str(top)) else word)
    return kept


def _guest(
    config: pytest.Config,
    variant: str,
    ids: list[str],
    reports: queue.Queue[tuple[str, Any]],
    stop: threading.Event,
    places: threading.Semaphore,
) -> None:
    """One guest's run, in a thread of its own; whatever happens, an ``end`` is the last that is sent."""
    from vm.machine import Machine  # paramiko takes long to import, and most runs of pytest need none

    said: list[str] = []
    try:
        with places, Machine.restored(recipe=Recipe(variant), source=True, tell=_tell(config)) as machine:

            def line(text: str) -> None:
                ordinary, mark, message = text.partition(MARK)  # pytest writes its dots without an end of line
                said.append(ordinary)
                for kind, value in json.loads(message).items() if mark else ():
                    reports.put((kind, value))
                if stop.is_set():
                    machine.power_cut()

            machine.run("cat > /run/ids", input="\n".join(ids).encode())  # as an argument it may be too long for ssh
            ended = machine.run(_command(config, ids, machine.slowdown), line=line, seconds=120)
            said.append(f"{ended.err}\npytest in the guest ended with {ended.code}")
            if _measures_coverage(config):
                own = os.environ.get("COVERAGE_FILE") or ".coverage"
                machine.copy_out(COVERAGE, config.invocation_params.dir / f"{own}.guest-{uuid.uuid4().hex[:8]}")
    except Exception as error:  # whatever it was becomes the failure of the tests that have no result
        said.append(f"{type(error).__name__}: {error}")
    finally:
        reports.put(("end", (ids, "\n".join(said)[-6000:])))


def _measures_coverage(config: pytest.Config) -> bool:
    return bool(getattr(config.option, "cov_source", None))


def _command(config: pytest.Config, ids: list[str], slowdown: float) -> str:
    """The line for the guest's shell."""
    here = config.invocation_params.dir
    folder = Path("/src", *here.relative_to(ROOT).parts) if here.is_relative_to(ROOT) else Path("/src")
    arguments = guest_arguments([str(word) for word in config.invocation_params.args], ROOT, here)
    plugins = ["-p", "no:cacheprovider", "-p", "vm.guest", "--guest-ids=/run/ids", "--vm=never"]
    plugins += ["-o", "tmp_path_retention_policy=failed"]  # the folders of a whole suite are more than /tmp holds
    if any(id.startswith("tests/") for id in ids):
        plugins += ["-p", "_hypothesis_pytestplugin"]
    if _measures_coverage(config):
        plugins += ["-p", "pytest_cov", "--cov-report="]
    words = shlex.join(["/opt/venv/bin/python", "-m", "pytest", *plugins, *arguments])
    environment = f"{ENVIRONMENT} MINICONTAINERD_PATIENCE={slowdown:.1f} COVERAGE_FILE={COVERAGE}"
    return f"cd {folder}; {environment}; {words}"


def _tell(config: pytest.Config) -> Any:
    """Print beside pytest's own lines, captured or not."""
    reporter = config.pluginmanager.getplugin("terminalreporter")

    def tell(text: str) -> None:
        if reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(text)

    return tell
