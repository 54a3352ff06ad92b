"""Every suite: its recipe is valid, and a shortened run of it trains, evaluates and reports every task."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rpecli.cli.app import app
from rpecli.config import suites

SHORT = ["--encoding=rope", "--seed=0", "--steps=2", "--samples=4", "--lengths=1x", "--tokens=256", "--warmup=1", "--jobs=0"]
SMALL = ["--n-layer=1", "--n-head=2", "--d-model=16", "--device=cpu"]


@pytest.mark.parametrize("name", suites.names())
def test_a_suite_runs_in_a_shortened_form(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check = CliRunner().invoke(app, ["check", f"suite-{name}"])
    assert check.exit_code == 0, check.output
    result = CliRunner().invoke(app, ["run", f"suite-{name}", *SHORT, *SMALL])
    assert result.exit_code == 0, result.output
    lines = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("runs/*/eval.jsonl"))]
    assert len(lines) == len(suites.tasks(name))
    assert all(0 <= line["token_accuracy"] <= 1 for line in lines)
    assert (tmp_path / "results" / f"suite-{name}" / "report.html").is_file()
