"""The loss of tokens and of sets of tokens, and sequences of unlike length, with padding behind."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from rpecli import data, objective
from rpecli.config.recipe import Config
from rpecli.device import pick_device
from rpecli.evaluate import measure
from rpecli.model import build
from rpecli.task import BOS, END, PAD, SPECIAL, Batch, Task, measured_chance, rows_of
from rpecli.train import loop
from rpecli.train.batches import TrainBatch, draw_batch
from rpecli.train.state import build_trainer

PLUS_STAR = '''
"""Words of (ab)*: after every symbol, the set of symbols that may come next."""
import numpy as np
from rpecli.task import BOS, END, SPECIAL, Batch, Task

class AbStar(Task):
    symbols = 2
    predicts_sets = True

    def draw(self, rng, batch, length):
        return np.tile([0, 1], (batch, length))

    def layout(self, x_BxN):
        B, N = x_BxN.shape
        tokens = np.concatenate([np.full((B, 1), BOS), x_BxN + SPECIAL, np.full((B, 1), END)], 1)
        answer = np.ones(tokens.shape, dtype=bool)
        answer[:, :2] = False
        after = np.where(x_BxN == 0, 1 << (SPECIAL + 1), 1 << SPECIAL | 1 << END)
        return Batch(tokens, answer, np.concatenate([np.zeros((B, 2), dtype=np.int64), after], 1))
'''
RAGGED = '''
"""Copy 1 to n symbols, padded behind."""
import numpy as np
from rpecli.task import BOS, END, SEP, SPECIAL, Batch, Task, rows_of

class Ragged(Task):
    symbols = 4

    def draw(self, rng, batch, length):
        n = rng.integers(1, length + 1, size=(batch, 1))
        return np.where(np.arange(length) < n, rng.integers(4, size=(batch, length)), -1)

    def layout(self, x_BxN):
        words = [(row[row >= 0] + SPECIAL).tolist() for row in x_BxN]
        tokens = rows_of([[BOS, *word, SEP, *word, END] for word in words])
        answer = np.array([[len(w) + 2 <= t < 2 * len(w) + 2 for t in range(tokens.shape[1])] for w in words])
        return Batch(tokens, answer)
'''


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return _config(tmp_path, PLUS_STAR)


def _config(folder: Path, source: str, **keys: object) -> Config:
    (folder / "mine.py").write_text(source)
    small = {"length": 4, "d_model": 16, "n_head": 2, "n_layer": 1, "tokens": 64, "steps": 150, "lr": 1e-2, "samples": 32}
    return Config.from_keys(task=str(folder / "mine.py"), encoding="rope", **{**small, **keys})


def test_the_loss_of_a_set_is_the_binary_cross_entropy_of_every_token() -> None:
    logits, allowed = torch.tensor([[0.0, 2.0, -1.0]]), torch.tensor([0b011])
    expected = math.log(2) + math.log1p(math.exp(-2)) + math.log1p(math.exp(-1))
    assert objective.losses(logits, allowed, sets=True).item() == pytest.approx(expected)
    assert objective.predict(logits, sets=True).tolist() == [0b010]
    assert objective.predict(logits, sets=False).tolist() == [1]


def test_the_last_token_of_a_large_vocabulary_is_a_bit_of_its_own() -> None:
    logits = torch.full((1, 60), -1.0)
    logits[0, 59] = 1.0
    assert objective.predict(logits, sets=True).tolist() == [1 << 59]


def test_a_model_learns_sets_and_is_scored_on_whole_sets(config: Config) -> None:
    trainer = build_trainer(config, pick_device("cpu"))
    blocks = list(data.evaluation_blocks(trainer.task, 4, 32, 0))
    before = measure.measure(trainer, 4, blocks, [])
    while trainer.step < config.steps:
        loop.step(trainer)
    after = measure.measure(trainer, 4, blocks, [])
    assert before["exact_match"] == 0.0
    assert after["exact_match"] == after["exact_match_eos"] == 1.0
    assert after["example"]["prompt"][:2] == ["0", "1"]
    assert after["example"]["target"] == ["{1}", "{. 0}"] * 4
    assert after["example"]["answer"] == ["{1}", "{. 0}"] * 4


def test_a_sequence_shows_its_sets_before_its_tokens(config: Config) -> None:
    task = build(config, pick_device("cpu")).task
    assert task.text(task.layout(np.array([[0, 1]]))) == "> 0 {1}1 {. 0}."
    assert measured_chance(task, 4) == 0.5  # of two sets, each after every second symbol


@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
def test_padding_changes_no_loss(tmp_path: Path, attention: str) -> None:
    """The losses of a padded batch are those of its sequences one by one."""
    loaded = build(_config(tmp_path, RAGGED, attention=attention), pick_device("cpu"))
    batch = loaded.task.sample(np.random.default_rng(0), 8, 4)
    assert (batch.tokens_BxT == PAD).any()
    together = loop.answer_losses(loaded.model, _train_batch(loaded.config, batch), loaded.device)
    apart = []
    for row in range(8):
        alone = batch.rows(row, row + 1)
        n = int((alone.tokens_BxT[0] != PAD).sum())
        alone = Batch(alone.tokens_BxT[:, :n], alone.answer_mask_BxT[:, :n])
        apart.append(loop.answer_losses(loaded.model, _train_batch(loaded.config, alone), loaded.device))
    torch.testing.assert_close(together, torch.cat(apart), atol=1e-5, rtol=1e-5)


def _train_batch(config: Config, batch: Batch) -> TrainBatch:
    return TrainBatch(data.shift_targets(batch, config), None, batch.tokens_BxT.size)


def test_padding_is_neither_shown_nor_predicted(tmp_path: Path) -> None:
    loaded = build(_config(tmp_path, RAGGED), pick_device("cpu"))
    batch = loaded.task.layout(np.array([[2, -1, -1], [1, 0, 3]]))
    assert loaded.task.text(batch, 0) == "> 2 | [2] ."
    examples = data.shift_targets(batch, loaded.config)
    assert examples.scored_BxT.sum(1).tolist() == [2, 4]
    draw_batch(loaded, 0)


def test_a_loss_mask_adds_places_that_are_not_scored() -> None:
    tokens = np.array([[BOS, SPECIAL, SPECIAL + 1, END]])
    answer = np.array([[False, False, True, False]])
    batch = Batch(tokens, answer, trained_mask_BxT=np.array([[False, True, True, True]]))
    examples = data.shift_targets(batch, Config.from_keys(task="copy", encoding="rope"))
    assert examples.trained_mask_BxT.tolist() == [[True, True, True]]
    assert examples.scored_BxT.tolist() == [[False, True, True]]


class Files(Task):
    """Two problems of length 3 to train on, one to test on; none of length 4."""

    symbols = 8

    def __init__(self, *, rows: tuple[int, ...] = (0, 1)):
        self.rows = rows

    def split(self, name: str, trained_to: int | None = None) -> Task:
        return Files(rows=(2,)) if name == "test" else self

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        return np.repeat(rng.choice(self.rows, size=(batch, 1)), length, axis=1)

    def layout(self, x_BxN: np.ndarray) -> Batch:
        tokens = rows_of([[BOS, *(row + SPECIAL), END] for row in x_BxN])
        return Batch(tokens, np.broadcast_to(np.arange(tokens.shape[1]) == 2, tokens.shape))

    def has_length(self, length: int) -> bool:
        return length in (2, 3)

    def fixed_set(self, length: int, sequences: int) -> Batch | None:
        return self.layout(np.full((1, length), 2)) if self.rows == (2,) else None


def test_finite_problems_are_split_and_each_is_tested_once() -> None:
    config = Config.from_keys(task="copy", encoding="rope", length=4, tokens=64)
    trained = {int(row[1]) for step in range(20) for row in data.train_batch(Files(), config, step).tokens_BxT}
    assert trained == {SPECIAL, SPECIAL + 1}
    (block,) = data.evaluation_blocks(Files(), 3, 100, 0)
    assert block.tokens_BxT.tolist() == [[BOS, *[SPECIAL + 2] * 3, END]]
    assert [Files().nearest_length(length) for length in (1, 2, 3, 4, 9)] == [2, 2, 3, 3, 3]
