"""``minicontainerd-conformance SEAM [options of pytest]``: the suite as one command, for your own part.

::

    minicontainerd-conformance runtime --runtime=/path/to/yours
    minicontainerd-conformance cni --plugins=/path/to/folder -k bridge

It is pytest with this folder's options and rules, from wherever the package is installed. In a working tree the same
is done by ``pytest conformance/runtime``, which can also go into a guest (``--in-vm``).
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SEAMS = sorted(path.name for path in HERE.iterdir() if any(path.glob("test_*.py")))
RULES = [
    *("-p", "vm.plugin", "-p", "no:cacheprovider"),
    *("-W", "error", "--strict-markers", "--import-mode=importlib"),
    *("-o", "markers=needs(*names): what the host must have\nclause(*ids): the sentences this test checks"),
]


def main() -> int:
    """Run the tests of the seam that the first word names; pytest's exit code."""
    if len(sys.argv) < 2 or sys.argv[1] not in SEAMS:
        print(f"usage: minicontainerd-conformance {{{','.join(SEAMS)}}} [options of pytest]", file=sys.stderr)
        return 2
    seam = HERE / sys.argv[1]
    return pytest.main([*RULES, "--rootdir", str(HERE.parent), "-c", "/dev/null", "-q", str(seam), *sys.argv[2:]])


if __name__ == "__main__":
    sys.exit(main())
