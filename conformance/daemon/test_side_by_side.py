"""One session of stock ctr, held against containerd and against ours: every command prints and exits the same.

The session runs once on each daemon. What cannot be equal is replaced by a word: times, ages, process numbers, the
daemon's folders and the namespace. White space is folded, for a column is as wide as what is in it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from .. import leaks
from ..peers import Ctr, Outcome
from .conftest import Start

SESSION = """
namespaces create NAMESPACE-extra a=b
namespaces label NAMESPACE-extra a=c
namespaces create NAMESPACE-extra
namespaces create not/good
namespaces rm NAMESPACE-extra
namespaces rm NAMESPACE-missing
images ls
images pull --plain-http IMAGE
images ls
images ls -q
images ls -q name~=busybox
images ls labels.x/y==z
images check
images check -q
images tag IMAGE tagged.example/busybox:1
images tag IMAGE tagged.example/busybox:1
images tag --force IMAGE tagged.example/busybox:1
images tag missing.example/x:1 other.example/x:1
images label tagged.example/busybox:1 a=b
images ls
images rm tagged.example/busybox:1
images rm tagged.example/busybox:1
content ls -q
content get MANIFEST
content get sha256:0000000000000000000000000000000000000000000000000000000000000000
content get nonsense
content label MANIFEST x=y
content label MANIFEST x=
content ls -q
content ls labels.x/y
snapshots ls
snapshots tree
snapshots info CHAIN
snapshots info missing
snapshots usage CHAIN
snapshots prepare active CHAIN
snapshots prepare active CHAIN
snapshots prepare other missing
snapshots ls
snapshots tree
snapshots label active x=y
snapshots mounts /target active
snapshots rm CHAIN
snapshots commit committed active
snapshots ls
snapshots rm committed
snapshots view viewed CHAIN
snapshots rm missing
snapshots --snapshotter nobody ls
leases create --id mine a=b
leases create --id mine
leases ls
leases ls -q
leases delete mine
leases delete mine
containers create IMAGE created sh
containers create IMAGE created sh
containers create IMAGE .bad. sh
containers create missing.example/x:1 other sh
containers ls
containers ls -q
containers ls id==nobody
containers label created x=y
containers info missing
containers rm created
containers rm created
run --rm IMAGE one echo hello
run --rm IMAGE two sh -c 'echo out; echo err >&2; exit 7'
run --rm IMAGE three head -n 1
run --rm IMAGE four sh -c 'kill -9 $$'
run --rm IMAGE five nonexistent
run --rm --cwd /nowhere-yet IMAGE five-b pwd
run --rm --env A=b --env PATH IMAGE six env
run --rm --read-only IMAGE seven touch /x
run --rm --mount type=bind,src=/nowhere,dst=/x,options=rbind IMAGE eight true
run --rm missing.example/x:1 nine true
run --rm IMAGE .bad. true
run --rm IMAGE ten sh -c 'id; hostname; ls /; cat /proc/self/attr/current; ulimit -n; umask; grep Cap /proc/self/status'
run --rm --cap-drop CAP_CHOWN IMAGE eleven grep Cap /proc/self/status
run --rm --privileged IMAGE twelve sh -c 'ls /dev | wc -l; grep NoNewPrivs /proc/self/status'
run --rm --net-host IMAGE thirteen cat /etc/hosts
run -d --fifo-dir FIFOS IMAGE daemon sleep 1000
run -d --fifo-dir FIFOS IMAGE daemon sleep 1000
tasks ls
tasks ls -q
containers ls
containers rm daemon
tasks exec --exec-id e1 daemon echo hi
tasks exec --exec-id e2 daemon sh -c 'exit 3'
tasks exec --exec-id e3 daemon nonexistent
tasks exec --exec-id e4 --user 1000:1001 daemon id
tasks exec --exec-id e5 --cwd /etc daemon pwd
tasks exec --exec-id e6 missing true
tasks ps missing
tasks pause daemon
tasks ls
tasks pause daemon
tasks resume daemon
tasks ls
tasks resume daemon
tasks metrics missing
tasks kill -s 0 daemon
tasks kill missing
tasks rm daemon
tasks kill -s KILL daemon
SETTLE
tasks ls
tasks kill -s KILL daemon
tasks rm daemon
tasks rm daemon
containers rm daemon
snapshots ls
images mount IMAGE MOUNTPOINT
images mount IMAGE MOUNTPOINT-missing
images unmount --rm MOUNTPOINT
images rm --sync IMAGE
images ls
content ls
namespaces rm NAMESPACE
"""


MINICTR_DIFFERS = {
    "images pull --plain-http IMAGE": "it prints plain lines where there is no terminal, and unpacks while it fetches",
    "content ls labels.x/y": "ctr prints the head of a table that then does not come",
    "snapshots info CHAIN": "it labels what it unpacks, as clients of containerd 2 do",
    "containers rm daemon": "ctr prints a Go struct",
    "tasks rm daemon": "ctr has two sentences for a task that is gone",
    "images mount IMAGE MOUNTPOINT-missing": "it says which folder is missing",
}
"""Where our own client answers otherwise on purpose, with the reason."""


def prepare(line: str, words: dict[str, str]) -> list[str]:
    for name, value in words.items():
        line = line.replace(name, value)
    return shlex.split(line)


def normalise(text: str, folder: Path, words: dict[str, str]) -> str:
    for value, name in ((str(folder), "FOLDER"), (words["NAMESPACE"], "NAMESPACE"), (words["IMAGE"], "IMAGE")):
        text = text.replace(value, name)
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)", "TIME", text)
    text = re.sub(r"\d{4}-\d\d-\d\d [\d:.]+ \+0000 UTC", "TIME", text)
    text = re.sub(r"(?m)^elapsed:.*$|^.*\|[-+. ]*\|.*$", "PROGRESS", text)
    text = re.sub(r"(PROGRESS\s+)+", "PROGRESS\n", text)
    text = re.sub(r"(done: )[\d.]+m?s", r"\1AGE", text)
    text = re.sub(r"(?i)less than a second|about a minute|\b\d+ (seconds?|minutes?)\b", "AGE", text)
    text = re.sub(r"(?m)^(\S+\s+)\d+(\s+(RUNNING|STOPPED|PAUSED|CREATED))", r"\1PID\2", text)
    text = re.sub(r"\d+/(fs|work)\b", r"N/\1", text)
    text = re.sub(r"/snapshots/overlayfs/|/io\.containerd\.snapshotter\.v1\.overlayfs/", "/SNAPSHOTTER/", text)
    text = re.sub(r"(: invalid argument)+", r"\1", text)  # containerd 1.6 says it once for each layer it passed
    text = re.sub(r"\S+,\S+", _sorted, text)
    return re.sub(r"[ \t]+", " ", text).strip()


def _sorted(listed: re.Match[str]) -> str:
    """Labels and options in one order: Go's maps have none, and containerd's versions differ."""
    return ",".join(sorted(listed.group().split(",")))


def session(ctr: Ctr, folder: Path, image: str, manifest: str, chain: str) -> Iterator[tuple[str, Outcome]]:
    """Each command line of the session, as written, and how it ended, normalised."""
    mountpoint = folder / "mountpoint"
    mountpoint.mkdir()
    words = {"NAMESPACE": ctr.namespace, "IMAGE": image, "MANIFEST": manifest, "CHAIN": chain}
    words["MOUNTPOINT"], words["FIFOS"] = str(mountpoint), str(folder / "fifo")
    for line in SESSION.strip().splitlines():
        if line == "SETTLE":
            ctr.wait_stopped("daemon")
            continue
        ended = ctr.run(*prepare(line, words), input=b"given\n")
        yield line, Outcome(ended.code, normalise(ended.out, folder, words), normalise(ended.err, folder, words))


@pytest.fixture(scope="module")
def sessions(start: Start, folder: Path, image: str) -> dict[str, list[tuple[str, Outcome]]]:
    """The whole session on both daemons."""
    real = start("containerd").within(f"{leaks.TOKEN}-look")
    real("images", "pull", "--plain-http", image)
    manifest = real("images", "ls", f"name=={image}").splitlines()[1].split()[2]
    chain = real("snapshots", "ls").splitlines()[1].split()[0]
    real("images", "rm", "--sync", image)
    found = {}
    for name in ("containerd", "minicontainerd"):
        found[name] = list(
            session(start(name).within(f"{leaks.TOKEN}-side-{name}"), folder / name, image, manifest, chain)
        )
    ours = start("minicontainerd").within(f"{leaks.TOKEN}-side-minictr").by("minictr")
    (folder / "minicontainerd" / "mountpoint").rmdir()
    found["minictr"] = list(session(ours, folder / "minicontainerd", image, manifest, chain))
    return found


LINES = [line for line in SESSION.strip().splitlines() if line != "SETTLE"]


@pytest.mark.parametrize(
    "number",
    range(len(LINES)),
    ids=[line[:60] for line in LINES],
)
@pytest.mark.clause("ctr.same")
def test_the_same_answer(sessions: dict[str, list[tuple[str, Outcome]]], number: int) -> None:
    line, theirs = sessions["containerd"][number]
    _, ours = sessions["minicontainerd"][number]
    assert (ours.code, ours.out, ours.err) == (theirs.code, theirs.out, theirs.err), line


@pytest.mark.clause("ctr.same")
def test_our_client_answers_as_ctr_does(sessions: dict[str, list[tuple[str, Outcome]]]) -> None:
    pairs = list(zip(sessions["containerd"], sessions["minictr"], strict=True))
    different = {line: (theirs, ours) for (line, theirs), (_, ours) in pairs if theirs != ours}
    assert different.keys() == MINICTR_DIFFERS.keys(), {
        line: outcomes for line, outcomes in different.items() if line not in MINICTR_DIFFERS
    }
