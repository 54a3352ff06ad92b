"""The weights that a run ends with where `checkpoint_lengths` chooses them: those of the validation with the most strings right.

Some papers choose a checkpoint by a bin of lengths beyond training. What is then measured there is no test, and reports say so.
The strings come from a stream of their own: those of the evaluation are others.
"""

from dataclasses import dataclass

import torch

from rpecli import data
from rpecli.config.ranges import parse_lengths
from rpecli.config.recipe import Config
from rpecli.run.directory import Run
from rpecli.run.files import RunError, read_bytes, write_bytes
from rpecli.run.records import ChosenCheckpoint
from rpecli.task import Batch, Task
from rpecli.train.scores import scores
from rpecli.train.state import Trainer, save_weights

BATCH_TOKENS = 1 << 15


def sets(task: Task, config: Config) -> list[Batch]:
    """The strings that choose: `validation_samples` of each length."""
    part, asked = task.split("validation", config.length), parse_lengths(config.checkpoint_lengths or "", config.length)
    return [part.sample(data.generator("checkpoint", n), config.validation_samples, n) for n in asked]


@dataclass
class Choice:
    """The best validation so far, whose weights are in the run's `best_file`."""

    run: Run
    trainer: Trainer
    sets: list[Batch]
    best: ChosenCheckpoint | None = None

    @classmethod
    def of(cls, run: Run, trainer: Trainer) -> "Choice | None":
        """That of a run, with the validations of its file; None where the last step decides."""
        if not trainer.config.checkpoint_lengths:
            return None
        choice = cls(run, trainer, sets(trainer.task, trainer.config))
        for line in run.metrics():
            choice._is_better(line["step"], line["checkpoint_match"])
        return choice

    @torch.no_grad()
    def look(self) -> float:
        """The share of strings that the model now gets right; its weights are kept if it is the largest so far."""
        share = round(sum(map(self._exact_match, self.sets)) / len(self.sets), 6)
        if self._is_better(self.trainer.step, share):
            save_weights(self.trainer, self.run.best_file)
        return share

    def keep(self) -> ChosenCheckpoint:
        """Makes the weights of the best validation those of the run."""
        weights = read_bytes(self.run.best_file)
        if self.best is None or weights is None:
            raise RunError(f"{self.run.best_file} is missing: delete {self.run.checkpoint_file.name} to train from the start")
        write_bytes(self.run.weights_file, weights)
        return self.best

    def _is_better(self, step: int, share: float) -> bool:
        better = self.best is None or share > self.best["exact_match"]
        if better:
            config = self.trainer.config
            lengths = parse_lengths(config.checkpoint_lengths or "", config.length)
            self.best = {"step": step, "exact_match": share, "lengths": lengths}
        return better

    def _exact_match(self, batch: Batch) -> float:
        """Share of strings with every answer token right."""
        B, T = batch.tokens_BxT.shape
        step = max(1, BATCH_TOKENS // T)
        right = [scores(self.trainer, batch.rows(row, row + step))[1] * min(step, B - row) for row in range(0, B, step)]
        return sum(right) / B
