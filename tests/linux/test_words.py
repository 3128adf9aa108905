"""The kernel's words and numbers: capabilities, mount options, mountinfo, cgroup files, signals."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicontainerd.linux import capabilities, cgroup, signals
from minicontainerd.linux.mount import ATTR, MS
from minicontainerd.linux.mount_options import PROPAGATION, WORDS, MountOptions, parse_mount_options
from minicontainerd.linux.mountinfo import mount_of, mountinfo, parse_mountinfo

names = st.sets(st.sampled_from(capabilities.NAMES))
data_words = st.from_regex(r"[a-z_]{1,8}=[a-z0-9:/]{0,8}", fullmatch=True)
options = st.lists(st.sampled_from(sorted(WORDS)) | data_words)


@given(names)
def test_a_mask_names_what_it_was_made_of(chosen: set[str]) -> None:
    assert set(capabilities.names_in(capabilities.mask_of(chosen))) == chosen


def test_capabilities_are_found_in_any_case_and_unknown_ones_left_out() -> None:
    assert capabilities.mask_of(["cap_chown", "CAP_OF_THE_FUTURE"]) == 1


def test_the_callers_sets_are_those_that_proc_shows() -> None:
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    shown = tuple(int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh"))
    assert capabilities.capget() == shown
    assert capabilities.bounding() == int(status["CapBnd"], 16)


@given(options)
def test_data_keeps_its_order_and_holds_no_word(given: list[str]) -> None:
    parsed = parse_mount_options(given)
    assert parsed.data == ",".join(word for word in given if word not in WORDS)


@given(options)
def test_the_same_options_twice_mean_the_same_flags(given: list[str]) -> None:
    once, twice = parse_mount_options(given), parse_mount_options([*given, *given])
    assert (once.flags, once.words) == (twice.flags, twice.words)


@given(options)
def test_propagation_never_gets_among_the_flags(given: list[str]) -> None:
    parsed = parse_mount_options(given)
    assert not parsed.flags & (MS.PRIVATE | MS.SLAVE | MS.SHARED | MS.UNBINDABLE)
    assert list(parsed.propagation) == [PROPAGATION[word] for word in given if word in PROPAGATION]


@pytest.mark.parametrize(
    ("given", "flags"),
    [
        (["ro"], MS.RDONLY),
        (["ro", "rw"], MS(0)),
        (["rw", "ro"], MS.RDONLY),
        (["nosuid", "nodev", "noexec"], MS.NOSUID | MS.NODEV | MS.NOEXEC),
        (["nosuid", "suid"], MS(0)),
        (["defaults"], MS(0)),
        (["bind"], MS.BIND),
        (["rbind"], MS.BIND | MS.REC),
    ],
)
def test_the_later_word_wins(given: list[str], flags: MS) -> None:
    assert parse_mount_options(given).flags == flags


def test_a_recursive_access_time_clears_the_whole_field() -> None:
    parsed = parse_mount_options(["rnoatime", "rro"])
    assert parsed.recursive_set == ATTR.NOATIME | ATTR.RDONLY
    assert parsed.recursive_clear == ATTR.ATIME_FIELD


def test_a_bind_mount_is_remounted_for_its_flags_only() -> None:
    assert parse_mount_options(["rbind", "ro"]).remount_flags == MS.RDONLY
    assert not parse_mount_options(["rbind"]).remount_flags
    assert not MountOptions().is_bind


paths = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\x85\u2028\u2029"), min_size=1)


@given(paths, st.lists(st.sampled_from(["shared:1", "master:2", "propagate_from:3", "unbindable"]), max_size=3))
def test_a_line_of_mountinfo_reads_back(path: str, propagation: list[str]) -> None:
    escaped = "".join(f"\\{ord(each):03o}" if each in " \t\n\\" else each for each in path)
    optional = "".join(f"{field} " for field in propagation)
    (mount,) = parse_mountinfo(f"36 35 98:0 /{escaped} /{escaped} rw {optional}- ext4 /dev/{escaped} rw,errors=x\n")
    assert (mount.root, mount.target, mount.source) == (f"/{path}", f"/{path}", f"/dev/{path}")
    assert mount.propagation == tuple(propagation)


def test_a_path_lies_on_the_last_mount_above_it() -> None:
    lines = [
        "1 0 8:1 / / rw - ext4 a rw",
        "2 1 8:2 / /srv rw - ext4 b rw",
        "3 1 8:3 / /srv-other rw - ext4 c rw",
        "4 2 8:4 / /srv rw - ext4 d rw",
    ]
    mounts = parse_mountinfo("\n".join(lines))
    assert mount_of("/srv/x", mounts).source == "d"
    assert mount_of("/srvx", mounts).source == "a"
    assert mount_of("/srv-other", mounts).source == "c"
    with pytest.raises(FileNotFoundError):
        mount_of("/", [])


def test_our_own_mounts_have_a_root() -> None:
    assert "/" in {mount.target for mount in mountinfo()}


def test_flat_files_of_a_cgroup_are_numbers_by_name() -> None:
    assert cgroup.parse_flat("usage_usec 12\nuser_usec 3\n") == {"usage_usec": 12, "user_usec": 3}
    assert cgroup.parse_flat("") == {}


def test_the_group_of_a_process_is_a_path_in_the_tree() -> None:
    try:
        tree = cgroup.tree()
    except FileNotFoundError:
        pytest.skip("no version 2 tree here")
    assert cgroup.own().startswith("/")
    assert cgroup.own(os.getpid()) == cgroup.own()
    assert cgroup.layout() in ("unified", "hybrid")
    assert os.path.isfile(f"{tree}/cgroup.procs")
    assert cgroup.processes(f"{tree}/there is no such group") == []


@given(st.sampled_from(list(signal.Signals)), st.booleans(), st.booleans())
def test_every_spelling_of_a_signal_is_its_number(which: signal.Signals, prefix: bool, lower: bool) -> None:
    word = which.name if prefix else which.name.removeprefix("SIG")
    assert signals.number_of(word.lower() if lower else word) == which
    assert signals.number_of(str(int(which))) == which


@pytest.mark.parametrize("word", ["", "NOPE", "SIG", "-9", "SIGRTMIN+x"])
def test_what_is_no_signal_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match=".*"):
        signals.number_of(word)
