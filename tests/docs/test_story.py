"""The recorded run is still how the program behaves: recorded again, it has the same shape."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

STORY = Path(__file__).parents[2] / "docs" / "story"
OF_THE_HOST = {"rootfs", "view"}
"""What depends on the kernel more than on us: the files it has in /proc, and the options of mounts."""

SIDE_BY_SIDE = {"pull", "pull-calls", "run-calls", "events"}
"""Where lines come from things that happen at the same time, such as the fetching of config and layer."""

needs = [program for program in ("docker-registry", "skopeo", "busybox") if not shutil.which(program)]


def shape(name: str, text: str) -> list[str]:
    """What must not change: the lines, without digests and sizes; of the told steps, who does what.

    Parent and child tell at the same time, so their lines may come in either order.
    """
    if name.startswith("explain"):
        acts = {match[0] for match in re.finditer(r"^\w+ +(\w+(?=\()|[^(\n]+$)", text, re.M)}
        return sorted(act for act in acts if not act.endswith(" write"))  # which controllers a cgroup hands down
    lines = [re.sub(r"[0-9a-f]{12}…|\b\d+\b", "#", line).strip() for line in text.splitlines()]
    return sorted(lines) if name in SIDE_BY_SIDE else lines


@pytest.mark.skipif(os.geteuid() != 0 or bool(needs), reason=f"needs root, and {needs or 'nothing else'}")
def test_the_recorded_run_is_what_happens_today(tmp_path: Path) -> None:
    maker = STORY.parent / "make_story.py"
    subprocess.run([sys.executable, str(maker), str(tmp_path)], check=True, timeout=120)
    names = sorted(path.stem for path in STORY.glob("*.txt"))
    assert sorted(path.stem for path in tmp_path.glob("*.txt")) == names
    for name in names:
        if name not in OF_THE_HOST:
            recorded, today = ((folder / f"{name}.txt").read_text() for folder in (STORY, tmp_path))
            assert shape(name, today) == shape(name, recorded), f"{name}: record again with docs/make_story.py"


def test_every_recording_is_on_the_page() -> None:
    page = (STORY.parent / "the-way-of-one-command.md").read_text()
    assert sorted(re.findall(r"story/([\w-]+)\.txt", page)) == sorted(path.stem for path in STORY.glob("*.txt"))
