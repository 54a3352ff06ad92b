"""Batches are a pure function of (task, seed, step), and evaluation sets the same for everybody."""

import numpy as np
import pytest

from rpecli import data
from rpecli import task as tasks
from rpecli.config.recipe import Config
from rpecli.task import Batch

PLAIN = ["addition", "copy", "parity", "recall", "reverse", "sort"]  # all sequences of a length have as many tokens, no two alike
plain = pytest.mark.parametrize("task_name", PLAIN)


def config(task_name: str = "copy", **keys: object) -> Config:
    return Config.from_keys(**{"task": task_name, "encoding": "none", "steps": 100, "length": 8, **keys})


def equal(one: Batch, two: Batch) -> bool:
    return np.array_equal(one.tokens_BxT, two.tokens_BxT) and np.array_equal(one.answer_mask_BxT, two.answer_mask_BxT)


def evaluation(name: str, length: int, sequences: int, seed: int = 0) -> list[Batch]:
    return list(data.evaluation_blocks(tasks.build(name), length, sequences, seed))


def problem_length(batch: Batch) -> int:
    """The problem length of a batch of copy: the number of its answer tokens."""
    return int(batch.answer_mask_BxT[0].sum())


def sequences_of(blocks: list[Batch]) -> list[bytes]:
    return [row.tobytes() for block in blocks for row in block.tokens_BxT]


def test_a_training_batch_depends_on_task_seed_and_step_alone(task_name: str) -> None:
    one = [data.train_batch(tasks.build(task_name), config(task_name, seed=3), step) for step in range(5)]
    task = tasks.build(task_name)
    for step in reversed(range(5)):  # another order, another encoding, other settings of the optimizer
        assert equal(data.train_batch(task, config(task_name, seed=3, encoding="rope", lr=1, n_layer=5), step), one[step])


@plain
def test_steps_and_seeds_draw_different_batches(task_name: str) -> None:
    task = tasks.build(task_name)
    batches = [data.train_batch(task, config(task_name, seed=s, min_length=8), step) for s in range(3) for step in range(5)]
    assert len({batch.tokens_BxT.tobytes() for batch in batches}) == len(batches)


def test_the_data_seed_stands_in_for_the_runs_seed() -> None:
    task = tasks.build("copy")
    expected = data.train_batch(task, config(seed=5), 7)
    assert equal(data.train_batch(task, config(seed=1, data_seed=5), 7), expected)
    assert not equal(data.train_batch(task, config(seed=5, data_seed=0), 7), expected)


@plain
@pytest.mark.parametrize("tokens", [1, 40, 200, 1024])
def test_a_batch_fills_the_token_budget_and_no_more(task_name: str, tokens: int) -> None:
    task = tasks.build(task_name)
    for step in range(10):
        rows, width = data.train_batch(task, config(task_name, tokens=tokens), step).tokens_BxT.shape
        assert width in map(task.sequence, range(1, 9))
        assert rows * width <= tokens or rows == 1
        assert (rows + 1) * width > tokens


def test_training_lengths_are_all_of_those_allowed_equally_often() -> None:
    task = tasks.build("copy")
    lengths = [problem_length(data.train_batch(task, config(min_length=3, tokens=1), step)) for step in range(900)]
    counts = np.bincount(lengths, minlength=9)
    assert counts[:3].tolist() == [0, 0, 0]
    assert len(counts) == 9
    assert abs(counts[3:] - 150).max() < 5 * np.sqrt(150)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.37, 0.5, 1.0])
@pytest.mark.parametrize(("shortest", "longest"), [(1, 8), (3, 64), (8, 8)])
def test_the_curriculum_grows_to_the_training_length_and_stays(share: float, shortest: int, longest: int) -> None:
    settings = config(curriculum=share, min_length=shortest, length=longest)
    lengths = [data.curriculum_length(settings, step) for step in range(settings.steps)]
    assert lengths == sorted(lengths)
    assert lengths[0] >= shortest
    assert set(lengths[max(0, round(share * settings.steps) - 1) :]) == {longest}
    if share >= 0.37 and longest > shortest:
        assert lengths[0] <= shortest + (longest - shortest) // 10
        assert lengths[int(share * settings.steps) // 2] < longest


def test_without_a_curriculum_the_first_step_may_already_be_as_long_as_any() -> None:
    assert data.curriculum_length(config(), 0) == 8


def test_lengths_of_a_batch_stay_below_the_curriculum() -> None:
    settings = config(curriculum=1.0, length=16)
    for step in range(0, 100, 7):
        assert problem_length(data.train_batch(tasks.build("copy"), settings, step)) <= data.curriculum_length(settings, step)


def test_generators_differ_by_purpose_and_by_every_number() -> None:
    names = [("a",), ("b",), ("a", 1), ("a", 0, 1), ("a", 1, 1), ("a", 0, 0, 1), ("b", 1), ("a", 2**33)]
    assert len({data.generator(*name).integers(2**62) for name in names}) == len(names)
    assert data.generator("a", 3).integers(2**62) == data.generator("a", 3).integers(2**62)


def batch_of(count: int, length: int) -> Batch:
    """Sequences of which a decoder reads `length` tokens."""
    return Batch(np.full((count, length + 1), 5), np.ones((count, length + 1), dtype=bool))


def train_positions(settings: Config, count: int, length: int, step: int) -> np.ndarray | None:
    return data.train_positions(tasks.build(settings.task), settings, batch_of(count, length), step)


def evaluation_positions(settings: Config, tokens: int, block: int = 0) -> np.ndarray | None:
    return data.evaluation_positions(tasks.build(settings.task), settings, batch_of(2, tokens), 8, block)


def test_a_run_that_starts_at_0_needs_no_positions() -> None:
    assert train_positions(config(), 4, 9, 0) is None
    assert evaluation_positions(config(positions="offset"), 9, 0) is None


def test_offsets_are_consecutive_and_reach_every_position_of_the_range() -> None:
    settings = config(positions="offset", max_position=12)
    batches = [train_positions(settings, 50, 9, step) for step in range(4)]
    assert all(positions.shape == (50, 9) and (np.diff(positions, axis=1) == 1).all() for positions in batches)
    assert {int(start) for positions in batches for start in positions[:, 0]} == {0, 1, 2, 3}


def test_randomized_positions_are_one_ascending_sample_a_batch_from_the_whole_range() -> None:
    settings = config(positions="randomized", max_position=12)
    samples = [train_positions(settings, 50, 9, step) for step in range(200)]
    assert all(positions.shape == (1, 9) and (np.diff(positions, axis=1) > 0).all() for positions in samples)
    counts = np.bincount(np.concatenate(samples, axis=1)[0], minlength=12)
    assert len(counts) == 12
    assert abs(counts - 150).max() < 5 * np.sqrt(150 * 0.25)


@pytest.mark.parametrize("kind", ["offset", "randomized"])
def test_training_positions_depend_on_seed_and_step_alone(kind: str) -> None:
    def positions(step: int, **keys: object) -> bytes:
        return train_positions(config(positions=kind, **keys), 6, 9, step).tobytes()

    assert positions(3, seed=1) == positions(3, seed=1, lr=1, encoding="rope") == positions(3, seed=7, data_seed=1)
    assert len({positions(step, seed=seed) for step in range(4) for seed in range(3)}) == 12


def test_randomized_evaluation_is_the_same_for_every_run_and_as_long_as_it_must_be() -> None:
    one = evaluation_positions(config(positions="randomized", max_position=20, seed=1), 9, 4)
    two = evaluation_positions(config(positions="randomized", max_position=20, seed=2), 9, 4)
    assert np.array_equal(one, two)
    long = evaluation_positions(config(positions="randomized", max_position=20), 30, 4)
    assert long.tolist() == [list(range(30))]


def test_every_layer_may_draw_its_own_randomized_positions() -> None:
    positions = train_positions(config(positions="randomized", positions_per="layer", n_layer=3), 4, 9, 0)
    assert positions.shape == (3, 1, 9)
    assert len({layer.tobytes() for layer in positions}) == 3


@pytest.mark.parametrize(("positions", "eval_positions", "kind"), [
    ("start", "same", "start"), ("offset", "same", "start"), ("randomized", "same", "randomized"),
    ("randomized", "start", "start"), ("start", "randomized", "randomized"), ("coupled", "same", "coupled"),
])  # fmt: skip
def test_positions_in_evaluation_are_those_of_training_by_default(positions: str, eval_positions: str, kind: str) -> None:
    settings = config(positions=positions, eval_positions=eval_positions)
    assert data.fixed_kind(settings) == kind
    if kind != "coupled":
        assert (evaluation_positions(settings, 9, 0) is None) == (kind == "start")


def test_coupled_positions_are_the_tasks_from_a_random_start_and_from_0_in_evaluation() -> None:
    settings, addition = config("addition", positions="coupled", max_position=40), tasks.build("addition")
    batch = addition.sample(np.random.default_rng(0), 50, 3)
    ids_BxT = addition.coupled(batch)[:, :-1]
    starts = data.train_positions(addition, settings, batch, 0) - ids_BxT
    assert (starts == starts[:, :1]).all()
    assert len(set(starts[:, 0].tolist())) > 10
    assert starts.min() >= 0
    assert (starts + ids_BxT).max() < 40
    assert np.array_equal(data.evaluation_positions(addition, settings, batch, 3, 0), ids_BxT)


def test_an_encoder_reads_padding_in_place_of_answers_and_predicts_them_there() -> None:
    settings = config(attention="bidirectional")
    batch = tasks.build("copy").layout(np.array([[3, 1]]))
    examples = data.shift_targets(batch, settings)
    tokens = [tasks.BOS, 7, 5, tasks.SEP, 7, 5, tasks.END]
    assert examples.inputs_BxT.tolist() == [[tasks.BOS, 7, 5, tasks.SEP, tasks.PAD, tasks.PAD, tasks.PAD]]
    assert examples.targets_BxT.tolist() == [tokens]
    assert examples.answer_mask_BxT.tolist() == [[False] * 4 + [True, True, False]]
    assert examples.eos_mask_BxT.tolist() == [[False] * 6 + [True]]


@plain
@pytest.mark.parametrize("sequences", [1, 31, 32, 33, 70])
def test_a_larger_evaluation_set_begins_with_the_smaller(task_name: str, sequences: int) -> None:
    smaller, larger = evaluation(task_name, 8, sequences), evaluation(task_name, 8, 100)
    assert len(sequences_of(smaller)) == sequences
    assert sequences_of(smaller) == sequences_of(larger)[:sequences]


def test_an_evaluation_set_does_not_repeat_itself_and_differs_by_length_and_seed() -> None:
    sets = [evaluation("copy", 8, 100), evaluation("copy", 8, 100, seed=1), evaluation("copy", 9, 100)]
    rows = [row for blocks in sets for row in sequences_of(blocks)]
    assert len(set(rows)) == 300
    prompts = {row[8 : 8 * 9] for row in rows}  # nor is a longer problem a shorter one with more behind it
    assert len(prompts) == 300


@plain
def test_evaluation_sequences_are_none_of_training_or_validation(task_name: str) -> None:
    task = tasks.build(task_name)
    settings = config(task_name, length=40, min_length=40)
    batches = [
        data.train_batch(task, settings.model_copy(update={"seed": seed}), step) for seed in range(4) for step in range(40)
    ]
    evaluated, trained = set(sequences_of(evaluation(task_name, 40, 96))), set(sequences_of(batches))
    validated = set(sequences_of(data.validation_sets(task, settings)))
    assert len(evaluated) == 96
    assert len(trained) > 1000
    assert len(validated) == 64
    assert len(evaluated | trained | validated) == 96 + len(trained) + 64


@plain
def test_validation_sets_are_the_same_for_every_run(task_name: str) -> None:
    task = tasks.build(task_name)
    one = data.validation_sets(task, config(task_name, length=16))
    two = data.validation_sets(task, config(task_name, length=16, seed=9, encoding="rope", data_seed=4, steps=7))
    assert [batch.tokens_BxT.shape for batch in one] == [(64, task.sequence(n)) for n in (8, 12, 16)]
    assert all(equal(*pair) for pair in zip(one, two, strict=True))


def test_validation_stays_within_the_training_lengths() -> None:
    task = tasks.build("copy")
    widths = [batch.tokens_BxT.shape[1] for batch in data.validation_sets(task, config(length=16, min_length=10))]
    assert widths == [task.sequence(n) for n in (10, 12, 16)]
    assert [batch.tokens_BxT.shape[1] for batch in data.validation_sets(task, config(length=1))] == [task.sequence(1)]


GOLDEN = {  # 40 sequences of length 12, evaluation seed 0: a changed stream, law or format is noticed here
    "copy": "b1cf02ed",
    "reverse": "fda2728a",
    "sort": "f0f33072",
    "sort:distinct=false": "7bb70646",
    "recall": "b19bbed0",
    "parity": "39e21417",
    "parity:format=bit:law=count": "7ce31428",
}


@pytest.mark.parametrize("choice", GOLDEN)
def test_evaluation_sets_are_those_of_the_published_tables(choice: str) -> None:
    assert data.fingerprint(evaluation(choice, 12, 40)) == GOLDEN[choice]


def test_training_and_validation_sequences_are_those_of_the_published_tables() -> None:
    assert data.fingerprint([data.train_batch(tasks.build("copy"), config(seed=1), 2)]) == "4d5b40ae"
    assert data.fingerprint(data.validation_sets(tasks.build("copy"), config())) == "77b71413"


def test_a_fingerprint_is_eight_digits_that_any_token_or_mark_changes() -> None:
    blocks = evaluation("copy", 4, 33)
    before = data.fingerprint(blocks)
    assert len(before) == 8
    assert int(before, 16) >= 0
    assert before == data.fingerprint(evaluation("copy", 4, 33))
    fingerprints = {before}
    for part in ("tokens_BxT", "answer_mask_BxT"):
        for block, row, place in ((0, 0, 0), (0, 31, 10), (1, 0, 5)):
            array = getattr(blocks[block], part)
            value = array[row, place]
            array[row, place] = not value if array.dtype == bool else value + 1
            fingerprints.add(data.fingerprint(blocks))
            array[row, place] = value
    assert len(fingerprints) == 7
    assert data.fingerprint(blocks[:1]) not in fingerprints


def test_tasks_of_one_seed_share_neither_weights_nor_prompts() -> None:
    """Else pairs of runs over tasks and seeds would count one draw several times."""
    batches = {
        name: data.train_batch(tasks.build(name), config(name, seed=3, length=16, min_length=16, curriculum=0), 5)
        for name in ("copy", "reverse")
    }
    prompts = [batch.tokens_BxT[:, 1:17].tolist() for batch in batches.values()]
    assert prompts[0] != prompts[1]
    seeds = {data.weight_seed(config(name, encoding=encoding, seed=seed), "weights")
             for name in ("copy", "reverse") for encoding in ("rope", "none") for seed in (0, 1)}  # fmt: skip
    assert len(seeds) == 4
