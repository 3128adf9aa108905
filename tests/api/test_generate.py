"""What is checked in as generated is what the .proto files generate."""

from pathlib import Path

from minicontainerd.api.generate import ROOT, generate, proto_files


def test_generated_code_is_fresh(tmp_path: Path) -> None:
    generate(tmp_path)
    fresh = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*_pb2.py*")}
    assert len(fresh) == 2 * len(proto_files())
    stale = [name for name, text in fresh.items() if (ROOT / name).read_text() != text]
    assert not stale, f"run python -m minicontainerd.api.generate: {stale}"
