"""``--in-vm``: what is sent to the guest, how it is dealt out, and what a missing need does."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vm import needs, plugin
from vm.recipe import ROOT

pytest_plugins = ["pytester"]


def _items(*ids: str) -> Any:
    return [SimpleNamespace(nodeid=id) for id in ids]


def test_a_file_stays_together_and_the_longest_is_dealt_first() -> None:
    shares = plugin.deal(_items("a::1", "b::1", "b::2", "b::3", "c::1", "c::2"), 2)
    assert shares == [["b::1", "b::2", "b::3"], ["c::1", "c::2", "a::1"]]


def test_a_need_may_ask_for_another_kind_of_guest() -> None:
    def item(id: str, *names: str) -> Any:
        return SimpleNamespace(nodeid=id, iter_markers=lambda _: [SimpleNamespace(args=names)])

    items = [item("a", "root"), item("b", "root", "systemd"), item("c", "btrfs", "thin-pool"), item("d")]
    found = plugin.by_variant(items)
    assert {kind: [each.nodeid for each in some] for kind, some in found.items()} == {
        "minimal": ["a", "d"],
        "systemd": ["b"],
        "storage": ["c"],
    }
    with pytest.raises(ValueError, match="at once systemd and zfs"):
        plugin.by_variant([item("e", "systemd", "zfs")])


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["--in-vm", "-x", "conformance/runtime"], ["-x", "conformance/runtime"]),
        (["-n", "2", "a"], ["a"]),
        (["-n2", "a"], ["a"]),
        (["--vm", "auto", "-k", "x and y"], ["-k", "x and y"]),
        (["--vm=auto", "--junit-xml", "out.xml"], []),
        (["--junitxml=out.xml", "/top/a::b"], ["/src/a::b"]),
    ],
)
def test_options_of_this_side_stay_here(given: list[str], kept: list[str]) -> None:
    assert plugin.guest_arguments(given, Path("/top"), Path("/top")) == kept


def test_a_need_that_nobody_knows_is_an_error(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import pytest\n@pytest.mark.needs('no-such-need')\ndef test_it(): pass\n")
    ran = pytester.runpytest_subprocess("-p", "vm.plugin", f"--rootdir={ROOT}")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(["*no such need: 'no-such-need'*"])


NEEDY = "import pytest\n@pytest.mark.needs('program:no-such')\ndef test_it(): assert False\ndef test_other(): pass\n"


def test_without_a_guest_an_unmet_need_skips_with_its_reason(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(NEEDY)
    ran = pytester.runpytest_subprocess("-p", "vm.plugin", "--vm=never", "-rs")
    ran.assert_outcomes(skipped=1, passed=1)
    ran.stdout.fnmatch_lines(["*no-such is not installed; --vm=never*"])


def test_where_no_guest_can_be_the_reason_says_what_is_missing(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(NEEDY)
    pytester.makeconftest("from vm import host\nhost.PROGRAMS = {'no-such-qemu': 'qemu-package'}\n")
    ran = pytester.runpytest_subprocess("-p", "vm.plugin", "-rs")
    ran.assert_outcomes(skipped=1, passed=1)
    ran.stdout.fnmatch_lines(["*no-such is not installed; *apt-get install qemu-package*"])


FAKE = """
import pytest
from vm import plugin

def _guest(config, variant, ids, reports, stop, places):
    '''A guest that answers without being one: what the terminal makes of it is what is tested.'''
    for id in ids[:-1]:
        reports.put(("start", id))
        for when in ("setup", "call", "teardown"):
            failed = "fails" in id and when == "call"
            outcome, told = ("failed", "as there") if failed else ("passed", None)
            report = pytest.TestReport(id, ("file", 0, id), {}, outcome, told, when)
            reports.put(("report", report._to_json()))
    reports.put(("end", (ids, "what it said last")))

plugin._guest = _guest
"""


@pytest.fixture
def with_fake_guest(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest(FAKE)
    body = "def test_passes(): assert False\ndef test_fails(): pass\ndef test_never_ran(): pass\n"
    pytester.makepyfile(body)
    return pytester


def test_results_of_the_guest_are_this_runs_results(with_fake_guest: pytest.Pytester) -> None:
    ran = with_fake_guest.runpytest_subprocess("-p", "vm.plugin", "--in-vm", "--junitxml=results.xml")
    ran.assert_outcomes(passed=1, failed=2)
    assert ran.ret == pytest.ExitCode.TESTS_FAILED
    ran.stdout.fnmatch_lines(["*as there*", "*no result came from the guest*", "*what it said last*"])
    written = (with_fake_guest.path / "results.xml").read_text()
    assert written.count("<testcase") == 3 and written.count("<failure") == 2


def test_the_first_failure_can_end_the_run(with_fake_guest: pytest.Pytester) -> None:
    ran = with_fake_guest.runpytest_subprocess("-p", "vm.plugin", "--in-vm", "-x")
    ran.assert_outcomes(passed=1, failed=1)


def test_with_n_there_are_as_many_guests_and_no_worker_here(with_fake_guest: pytest.Pytester) -> None:
    with_fake_guest.makepyfile(test_second="def test_passes(): pass\ndef test_never_ran(): pass\n")
    ran = with_fake_guest.runpytest_subprocess("-p", "vm.plugin", "--in-vm", "-n", "2")
    ran.assert_outcomes(passed=2, failed=3)  # each guest leaves one out
    ran.stdout.no_fnmatch_line("*2 workers*")


def test_what_the_host_lacks_goes_to_two_guests(with_fake_guest: pytest.Pytester) -> None:
    with_fake_guest.makeconftest(f"{FAKE}\nfrom vm import host\nhost.PROGRAMS = {{}}\n")
    needy = "import pytest\npytestmark = pytest.mark.needs('program:no-such')\n"
    body = f"{needy}def test_passes(): assert False\ndef test_never_ran(): pass\n"
    with_fake_guest.makepyfile(test_first=body, test_second=body, test_here="def test_here(): pass\n")
    files = ("test_first.py", "test_second.py", "test_here.py")
    ran = with_fake_guest.runpytest_subprocess("-p", "vm.plugin", *files)
    ran.assert_outcomes(passed=3, failed=2)  # each guest leaves one out


@pytest.mark.parametrize("need", sorted(needs.NEEDS))
def test_every_need_has_an_answer_here(need: str) -> None:
    assert isinstance(needs.reason_against(need), str)
