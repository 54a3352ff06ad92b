"""The trainer: model, optimizer and counters, and the checkpoint that holds them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from rpecli import model
from rpecli.config.recipe import Config
from rpecli.model import LoadedModel
from rpecli.run.files import RunError, line_bytes, read_lines, write_bytes


@dataclass
class Trainer(LoadedModel):
    """A model in training: what a step changes is the model, the optimizer, and the counters of `metrics.jsonl`."""

    optimizer: torch.optim.Optimizer = field(init=False)
    step: int = 0  # steps done
    tokens: int = 0
    losses: list[Tensor] = field(default_factory=list)  # of the steps since the last validation

    def __post_init__(self) -> None:
        self.optimizer = adamw(self.model.parameters(), self.config)


def adamw(parameters: Any, c: Config) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=c.lr, betas=(c.beta1, c.beta2), weight_decay=c.weight_decay, fused=True)


def build(config: Config, device: torch.device) -> Trainer:
    """The model of a config with its optimizer, as they stand before the first step."""
    return Trainer(**vars(model.build(config, device)))


def _checkpoint(trainer: Trainer, path: Path) -> None:
    """Everything the next step needs, in one file."""
    state = {f"model.{name}": tensor for name, tensor in trainer.model.state().items()}
    for name, parameter in trainer.model.named_parameters():
        for key, value in trainer.optimizer.state[parameter].items():
            state[f"optimizer.{key}.{name}"] = value
    state["counters"] = torch.tensor([trainer.step, trainer.tokens])
    state["losses"] = torch.stack(trainer.losses).cpu().double() if trainer.losses else torch.zeros(0, dtype=torch.float64)
    write_bytes(path / "checkpoint.safetensors", save(_plain(state)))


def _resume(trainer: Trainer, path: Path) -> None:
    """Loads the checkpoint and cuts from metrics.jsonl what came after it."""
    try:
        state = load_file(path / "checkpoint.safetensors", device=str(trainer.device))
        trainer.model.load_state({n.removeprefix("model."): t for n, t in state.items() if n.startswith("model.")})
    except Exception as error:
        raise RunError(f"{path}/checkpoint.safetensors is damaged ({error}): delete it to train from the start") from None
    for name, parameter in trainer.model.named_parameters():
        keys = [key for key in state if key.startswith("optimizer.") and key.split(".", 2)[2] == name]
        trainer.optimizer.state[parameter] = {key.split(".", 2)[1]: state[key] for key in keys}
    trainer.step, trainer.tokens = (int(n) for n in state["counters"])
    trainer.losses = list(state["losses"].float())
    lines = [line for line in read_lines(path / "metrics.jsonl") if line["step"] <= trainer.step]
    write_bytes(path / "metrics.jsonl", b"".join(line_bytes(line) for line in lines))


def _plain(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}


def _steps_done(path: Path) -> int | None:
    """Where a run's checkpoint stands, 0 without one, None for one that does not load."""
    file = path / "checkpoint.safetensors"
    if not file.exists():
        return 0
    try:
        with safe_open(file, framework="pt") as opened:
            return int(opened.get_tensor("counters")[0])
    except Exception:  # a damaged file: the run alone says so
        return None
