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


def test_without_a_guest_an_unmet_need_skips_with_its_reason(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import pytest\n@pytest.mark.needs('program:no-such')\ndef test_it(): assert False\n")
    ran = pytester.runpytest_subprocess("-p", "vm.plugin", "-rs")
    ran.assert_outcomes(skipped=1)
    ran.stdout.fnmatch_lines(["*no-such is not installed (--vm=auto runs it in a guest)*"])


@pytest.mark.parametrize("need", sorted(needs.NEEDS))
def test_every_need_has_an_answer_here(need: str) -> None:
    assert isinstance(needs.reason_against(need), str)
