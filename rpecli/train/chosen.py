"""The weights that a run ends with where `checkpoint_lengths` chooses them: those of the validation with the most strings right.

Some papers choose a checkpoint by a bin of lengths beyond training. What is then measured there is no test, and reports say so.
The strings come from a stream of their own: those of the evaluation are others. Of several validations with as many strings right
the last one counts: where none is ever right, the run ends with the weights that it would have without a choice.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from rpecli import data, tensor_file
from rpecli.config.recipe import Config
from rpecli.run.directory import Run
from rpecli.run.files import RunError
from rpecli.run.records import ChosenCheckpoint
from rpecli.task import Batch, Task
from rpecli.train.scores import scores
from rpecli.train.state import REMEDY, Trainer

BATCH_TOKENS = 1 << 15
STEP, SHARE, WEIGHTS = "chosen.step", "chosen.exact_match", "chosen.model."  # names in the checkpoint


def sets(task: Task, config: Config) -> list[Batch]:
    """The strings that choose: `validation_samples` of each length."""
    part = task.split("validation", config.length)
    return [part.sample(data.generator("checkpoint", n), config.validation_samples, n) for n in config.choosing_lengths]


@dataclass
class Choice:
    """The best validation so far and its weights, which the checkpoint of the run holds too: a kill takes both back alike."""

    trainer: Trainer
    sets: list[Batch]
    step: int = 0
    exact_match: float = -1.0
    weights: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, run: Run, trainer: Trainer, resumed: bool) -> "Choice | None":
        """That of a run, as its checkpoint has it; None where the last step decides."""
        if not trainer.config.checkpoint_lengths:
            return None
        choice = cls(trainer, sets(trainer.task, trainer.config))
        if resumed:
            state = tensor_file.read(run.checkpoint_file, REMEDY)
            if STEP not in state:
                raise RunError(f"{run.checkpoint_file} does not hold the weights of the best validation: {REMEDY}")
            choice.step, choice.exact_match = int(state[STEP]), float(state[SHARE])
            choice.weights = {n.removeprefix(WEIGHTS): t for n, t in state.items() if n.startswith(WEIGHTS)}
        return choice

    @property
    def state(self) -> dict[str, Tensor]:
        """What the checkpoint holds of it."""
        weights = {WEIGHTS + name: tensor for name, tensor in self.weights.items()}
        return {STEP: torch.tensor(self.step), SHARE: torch.tensor(self.exact_match, dtype=torch.float64), **weights}

    @property
    def record(self) -> ChosenCheckpoint:
        return {"step": self.step, "exact_match": self.exact_match, "lengths": self.trainer.config.choosing_lengths}

    @torch.no_grad()
    def look(self) -> float:
        """The share of strings that the model now gets right; its weights are kept unless an earlier share was larger.

        The model is looked at as an evaluation loads it: with `rope:then=none` by the encoding of the last steps.
        """
        model = self.trainer.model
        current = model.current
        model.switch(True)
        share = round(sum(map(self._exact_match, self.sets)) / len(self.sets), 6)
        model.current = current
        if share >= self.exact_match:
            self.step, self.exact_match = self.trainer.step, share
            self.weights = {name: tensor.to("cpu", copy=True) for name, tensor in model.state().items()}
        return share

    def _exact_match(self, batch: Batch) -> float:
        """Share of strings with every answer token right."""
        B, T = batch.tokens_BxT.shape
        step = max(1, BATCH_TOKENS // T)
        right = [scores(self.trainer, batch.rows(row, row + step))[1] * min(step, B - row) for row in range(0, B, step)]
        return sum(right) / B
