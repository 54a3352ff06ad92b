"""scripts/profile_step.py: the shares of a training step, and attention found in both directions."""

import profile_step
import pytest
import torch

from rpecli.bench import Size, steps
from rpecli.train import state as train_state

SIZE = Size(16, 1, 2, 16, 4)


@pytest.fixture
def trainer() -> train_state.Trainer:
    return train_state.build_trainer(steps.config_of(SIZE, "rope"), torch.device("cpu"))


def test_shares_of_a_step_sum_to_1_and_every_region_is_hit(trainer: train_state.Trainer) -> None:
    shares = profile_step.shares(trainer, steps=1)
    assert sum(shares.values()) == pytest.approx(1)
    assert all(shares[part] > 0 for part in ("matrix products", "attention", "optimizer", "data"))


def test_the_backward_pass_of_attention_counts_as_attention(trainer: train_state.Trainer) -> None:
    events = profile_step.record(trainer, steps=1)
    part_of = {event.name: part for event, part in zip(events, profile_step.parts(events), strict=True)}
    backward = {part for name, part in part_of.items() if "attention" in name.lower() and "backward" in name.lower()}
    assert backward == {"attention"}
    assert part_of["aten::mm"] == "matrix products"
    assert part_of["aten::_fused_adamw_"] == "optimizer"


def test_the_command_prints_one_row_per_dtype(capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    profile_step.main(["--size", str(SIZE), "--dtype", "float32", "--steps", "1"])
    torch.set_num_threads(threads)
    header, _, row = capsys.readouterr().out.splitlines()
    assert [cell.strip() for cell in header.strip("|").split("|")] == ["encoding", "size", "dtype", *profile_step.PARTS]
    assert "16x1x2x16x4" in row
