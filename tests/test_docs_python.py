"""The code of docs/python.md and of the notebook runs as it stands."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
FENCE = "```"


def blocks(page: Path) -> list[str]:
    """The blocks of Python of a page, or the code cells of a notebook."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".ipynb":
        return ["".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    return [part.split(FENCE)[0] for part in text.split(f"{FENCE}python\n")[1:]]


@pytest.mark.parametrize("page", ["python.md", "first_steps.ipynb"])
def test_the_code_runs_from_top_to_bottom(page: str, tmp_path: Path) -> None:
    code = blocks(DOCS / page)
    assert len(code) > 4
    (tmp_path / "page.py").write_text("\n\n".join(code), encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(DOCS.parent), "MPLBACKEND": "agg"}
    done = subprocess.run([sys.executable, "-P", "page.py"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_notebook_holds_the_output_of_its_cells() -> None:
    cells = json.loads((DOCS / "first_steps.ipynb").read_text(encoding="utf-8"))["cells"]
    assert [cell["source"][0] for cell in cells if cell["cell_type"] == "code" and cell["execution_count"] is None] == []
    assert sum("image/png" in output.get("data", {}) for cell in cells for output in cell.get("outputs", [])) >= 2
