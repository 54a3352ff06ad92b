"""The documentation builds as a site without a warning."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")
ROOT = Path(__file__).resolve().parents[1]


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    built = subprocess.run([sys.executable, "scripts/build_site.py", tmp_path / "site"], cwd=ROOT, capture_output=True, text=True)
    assert (built.returncode, built.stderr) == (0, "")
    pages = {path.parent.name for path in (tmp_path / "site").glob("*/index.html")}
    assert {page.stem for page in (ROOT / "docs").glob("*.md")} <= pages
    assert 'href="tutorial/"' in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
