"""The trainer: model, optimizer and counters, and the checkpoint that holds them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from rpecli import model, tensor_file
from rpecli.config.recipe import Config
from rpecli.model import LoadedModel
from rpecli.run.directory import Run
from rpecli.run.files import RunError

if TYPE_CHECKING:
    from rpecli.train.parallel import Share

REMEDY = "delete it to train from the start"


@dataclass
class Trainer(LoadedModel):
    """A model in training: what a step changes is the model, the optimizer, and the counters of `metrics.jsonl`."""

    optimizer: torch.optim.Optimizer = field(init=False)
    step: int = 0  # steps done
    tokens: int = 0
    losses: list[Tensor] = field(default_factory=list)  # of the steps since the last validation
    share: "Share | None" = None  # of each batch, where several processes train it

    def __post_init__(self) -> None:
        self.optimizer = adamw(parameter_groups(self.model, self.config), self.config)


def parameter_groups(model: nn.Module, config: Config) -> list[dict[str, Any]]:
    """All parameters in one group, or with `decayed: matrices` biases and norms in a second one that does not decay."""
    parameters = list(model.parameters())
    if config.decayed == "all":
        return [{"params": parameters}]
    matrices, vectors = ([p for p in parameters if (p.dim() > 1) == wanted] for wanted in (True, False))
    return [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]


def adamw(parameters: Any, c: Config) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=c.lr, betas=(c.beta1, c.beta2), weight_decay=c.weight_decay, fused=True)


def build_trainer(config: Config, device: torch.device) -> Trainer:
    """The model of a config with its optimizer, as they stand before the first step."""
    return Trainer(**vars(model.build(config, device)))


def save_checkpoint(trainer: Trainer, run: Run, more: Mapping[str, Tensor] = {}) -> None:
    """Everything the next step needs, and more, in one file."""
    state = {**more, **{f"model.{name}": tensor for name, tensor in trainer.model.state().items()}}
    for name, parameter in trainer.model.named_parameters():
        for key, value in trainer.optimizer.state[parameter].items():
            state[f"optimizer.{key}.{name}"] = value
    state["counters"] = torch.tensor([trainer.step, trainer.tokens])
    state["losses"] = torch.stack(trainer.losses).cpu().double() if trainer.losses else torch.zeros(0, dtype=torch.float64)
    tensor_file.write(run.checkpoint_file, state)


def load_checkpoint(trainer: Trainer, run: Run) -> None:
    """Loads the checkpoint."""
    state = tensor_file.read(run.checkpoint_file, REMEDY)
    try:
        trainer.model.load_state({n.removeprefix("model."): t for n, t in state.items() if n.startswith("model.")})
    except ValueError as error:
        raise RunError(f"{run.checkpoint_file} is of another model ({error}): {REMEDY}") from None
    for name, parameter in trainer.model.named_parameters():
        keys = [key for key in state if key.startswith("optimizer.") and key.split(".", 2)[2] == name]
        trainer.optimizer.state[parameter] = {key.split(".", 2)[1]: state[key].to(trainer.device) for key in keys}
    trainer.step, trainer.tokens = (int(n) for n in state["counters"])
    trainer.losses = list(state["losses"].float().to(trainer.device))


def checkpoint_step(run: Run) -> int | None:
    """The step of a run's checkpoint, 0 without one, None for one that does not load."""
    if not run.checkpoint_file.exists():
        return 0
    try:
        return int(tensor_file.read(run.checkpoint_file, REMEDY)["counters"][0])
    except RunError:  # resuming the run says what is wrong
        return None
