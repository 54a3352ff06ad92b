"""Batches are a pure function of (task, seed, step), and evaluation sets the same for everybody."""

import numpy as np
import pytest

from rpecli import data, task
from rpecli.config.recipe import Config
from rpecli.task import Batch


def config(task_name: str = "copy", **keys: object) -> Config:
    return Config.from_keys(**{"task": task_name, "encoding": "none", "steps": 100, "length": 8, **keys})


def equal(one: Batch, two: Batch) -> bool:
    return np.array_equal(one.tokens_BxT, two.tokens_BxT) and np.array_equal(one.answer_BxT, two.answer_BxT)


def evaluation(name: str, length: int, sequences: int, seed: int = 0) -> list[Batch]:
    return list(data.evaluation_blocks(task.build(name), length, sequences, seed))


def copied(batch: Batch) -> int:
    """The problem length of a batch of copy: what each of its sequences has to say."""
    return int(batch.answer_BxT[0].sum())


def strings(blocks: list[Batch]) -> list[bytes]:
    return [row.tobytes() for block in blocks for row in block.tokens_BxT]


# --------------------------------------------------------------------------------------------------------------- training


def test_a_training_batch_depends_on_task_seed_and_step_alone(task_name):
    one = [data.train_batch(task.build(task_name), config(task_name, seed=3), step) for step in range(5)]
    made = task.build(task_name)
    for step in reversed(range(5)):  # another order, another encoding, other settings of the optimizer
        assert equal(data.train_batch(made, config(task_name, seed=3, encoding="rope", lr=1, n_layer=5), step), one[step])


def test_steps_and_seeds_draw_different_batches(task_name):
    made = task.build(task_name)
    drawn = [data.train_batch(made, config(task_name, seed=s, min_length=8), step) for s in range(3) for step in range(5)]
    assert len({batch.tokens_BxT.tobytes() for batch in drawn}) == len(drawn)


def test_the_data_seed_stands_in_for_the_runs_seed():
    made = task.build("copy")
    wanted = data.train_batch(made, config(seed=5), 7)
    assert equal(data.train_batch(made, config(seed=1, data_seed=5), 7), wanted)
    assert not equal(data.train_batch(made, config(seed=5, data_seed=0), 7), wanted)


@pytest.mark.parametrize("tokens", [1, 40, 200, 1024])
def test_a_batch_fills_the_token_budget_and_no_more(task_name, tokens):
    made = task.build(task_name)
    for step in range(10):
        rows, width = data.train_batch(made, config(task_name, tokens=tokens), step).tokens_BxT.shape
        assert width in map(made.sequence, range(1, 9))
        assert rows * width <= tokens or rows == 1
        assert (rows + 1) * width > tokens


def test_training_lengths_are_all_of_those_allowed_equally_often():
    made = task.build("copy")
    lengths = [copied(data.train_batch(made, config(min_length=3, tokens=1), step)) for step in range(900)]
    counts = np.bincount(lengths, minlength=9)
    assert counts[:3].tolist() == [0, 0, 0]
    assert len(counts) == 9
    assert abs(counts[3:] - 150).max() < 5 * np.sqrt(150)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.37, 0.5, 1.0])
@pytest.mark.parametrize(("least", "most"), [(1, 8), (3, 64), (8, 8)])
def test_the_curriculum_grows_to_the_training_length_and_stays(share, least, most):
    made = config(curriculum=share, min_length=least, length=most)
    longest = [data.longest(made, step) for step in range(made.steps)]
    assert longest == sorted(longest)
    assert longest[0] >= least
    assert set(longest[max(0, round(share * made.steps) - 1) :]) == {most}
    if share >= 0.37 and most > least:
        assert longest[0] <= least + (most - least) // 10
        assert longest[int(share * made.steps) // 2] < most


def test_without_a_curriculum_the_first_step_may_already_be_as_long_as_any():
    assert data.longest(config(), 0) == 8


def test_lengths_of_a_batch_stay_below_what_the_curriculum_has_reached():
    made = config(curriculum=1.0, length=16)
    for step in range(0, 100, 7):
        assert copied(data.train_batch(task.build("copy"), made, step)) <= data.longest(made, step)


def test_generators_differ_by_purpose_and_by_every_number():
    names = [("a",), ("b",), ("a", 1), ("a", 0, 1), ("a", 1, 1), ("a", 0, 0, 1), ("b", 1), ("a", 2**33)]
    assert len({data.generator(*name).integers(2**62) for name in names}) == len(names)
    assert data.generator("a", 3).integers(2**62) == data.generator("a", 3).integers(2**62)


# -------------------------------------------------------------------------------------------------------------- positions


def batch_of(count: int, length: int) -> Batch:
    """Sequences of which a decoder reads `length` tokens."""
    return Batch(np.full((count, length + 1), 5), np.ones((count, length + 1), dtype=bool))


def trained(made: Config, count: int, length: int, step: int) -> np.ndarray | None:
    return data.train_positions(task.build(made.task), made, batch_of(count, length), step)


def measured(made: Config, length: int, *numbers: int) -> np.ndarray | None:
    return data.fixed_positions(task.build(made.task), made, batch_of(2, length), "evaluation", *numbers)


def test_a_run_that_starts_at_0_needs_no_positions():
    assert trained(config(), 4, 9, 0) is None
    assert measured(config(positions="offset"), 9, 0) is None


def test_offsets_are_consecutive_and_reach_every_position_of_the_range():
    made = config(positions="offset", max_position=12)
    drawn = [trained(made, 50, 9, step) for step in range(4)]
    assert all(batch.shape == (50, 9) and (np.diff(batch, axis=1) == 1).all() for batch in drawn)
    assert {int(start) for batch in drawn for start in batch[:, 0]} == {0, 1, 2, 3}


def test_randomized_positions_are_one_ascending_sample_a_batch_from_the_whole_range():
    made = config(positions="randomized", max_position=12)
    drawn = [trained(made, 50, 9, step) for step in range(200)]
    assert all(batch.shape == (1, 9) and (np.diff(batch, axis=1) > 0).all() for batch in drawn)
    counts = np.bincount(np.concatenate(drawn, axis=1)[0], minlength=12)
    assert len(counts) == 12
    assert abs(counts - 150).max() < 5 * np.sqrt(150 * 0.25)


@pytest.mark.parametrize("kind", ["offset", "randomized"])
def test_training_positions_depend_on_seed_and_step_alone(kind):
    def drawn(step: int, **keys: object) -> bytes:
        return trained(config(positions=kind, **keys), 6, 9, step).tobytes()

    assert drawn(3, seed=1) == drawn(3, seed=1, lr=1, encoding="rope") == drawn(3, seed=7, data_seed=1)
    assert len({drawn(step, seed=seed) for step in range(4) for seed in range(3)}) == 12


def test_randomized_evaluation_is_the_same_for_every_run_and_as_long_as_it_must_be():
    one = measured(config(positions="randomized", max_position=20, seed=1), 9, 4)
    two = measured(config(positions="randomized", max_position=20, seed=2), 9, 4)
    assert np.array_equal(one, two)
    long = measured(config(positions="randomized", max_position=20), 30, 4)
    assert long.tolist() == [list(range(30))]


def test_every_layer_may_draw_its_own_randomized_positions():
    drawn = trained(config(positions="randomized", positions_per="layer", n_layer=3), 4, 9, 0)
    assert drawn.shape == (3, 1, 9)
    assert len({layer.tobytes() for layer in drawn}) == 3


@pytest.mark.parametrize(("positions", "eval_positions", "kind"), [
    ("start", "same", "start"), ("offset", "same", "start"), ("randomized", "same", "randomized"),
    ("randomized", "start", "start"), ("start", "randomized", "randomized"), ("coupled", "same", "coupled"),
])  # fmt: skip
def test_positions_in_evaluation_are_those_of_training_unless_told(positions, eval_positions, kind):
    made = config(positions=positions, eval_positions=eval_positions)
    assert data.fixed_kind(made) == kind
    if kind != "coupled":
        assert (measured(made, 9, 0) is None) == (kind == "start")


def test_coupled_positions_are_the_tasks_from_a_random_start_and_from_0_in_evaluation():
    made, addition = config("addition", positions="coupled", max_position=40), task.build("addition")
    batch = addition.sample(np.random.default_rng(0), 50, 3)
    ids_BxT = addition.coupled(batch)[:, :-1]
    starts = data.train_positions(addition, made, batch, 0) - ids_BxT
    assert (starts == starts[:, :1]).all()
    assert len(set(starts[:, 0].tolist())) > 10
    assert starts.min() >= 0
    assert (starts + ids_BxT).max() < 40
    assert np.array_equal(data.fixed_positions(addition, made, batch, "evaluation"), ids_BxT)


def test_an_encoder_reads_blanks_where_it_is_to_answer_and_answers_in_place():
    made = config(attention="bidirectional")
    batch = task.build("copy").layout(np.array([[3, 1]]))
    framed = data.frame(batch, made)
    tokens = [task.BOS, 7, 5, task.SEP, 7, 5, task.END]
    assert framed.inputs_BxT.tolist() == [[task.BOS, 7, 5, task.SEP, task.PAD, task.PAD, task.PAD]]
    assert framed.targets_BxT.tolist() == [tokens]
    assert framed.answer_BxT.tolist() == [[False] * 4 + [True, True, False]]
    assert framed.end_BxT.tolist() == [[False] * 6 + [True]]


# ------------------------------------------------------------------------------------------------------------- evaluation


@pytest.mark.parametrize("sequences", [1, 31, 32, 33, 70])
def test_a_larger_evaluation_set_begins_with_the_smaller(task_name, sequences):
    smaller, larger = evaluation(task_name, 8, sequences), evaluation(task_name, 8, 100)
    assert len(strings(smaller)) == sequences
    assert strings(smaller) == strings(larger)[:sequences]


def test_an_evaluation_set_does_not_repeat_itself_and_differs_by_length_and_seed():
    drawn = (
        strings(evaluation("copy", 8, 100)) + strings(evaluation("copy", 8, 100, seed=1)) + strings(evaluation("copy", 9, 100))
    )
    assert len(set(drawn)) == 300
    heads = {row[8 : 8 * 9] for row in drawn}  # nor is a longer problem a shorter one with more behind it
    assert len(heads) == 300


def test_evaluation_strings_are_none_of_training_or_validation(task_name):
    made = task.build(task_name)
    longest = config(task_name, length=40, min_length=40)
    batches = [data.train_batch(made, longest.model_copy(update={"seed": seed}), step) for seed in range(4) for step in range(40)]
    tested, trained = set(strings(evaluation(task_name, 40, 96))), set(strings(batches))
    watched = set(strings(data.validation_sets(made, longest)))
    assert len(tested) == 96
    assert len(trained) > 1000
    assert len(watched) == 64
    assert len(tested | trained | watched) == 96 + len(trained) + 64


def test_validation_sets_are_the_same_for_every_run(task_name):
    made = task.build(task_name)
    one = data.validation_sets(made, config(task_name, length=16))
    two = data.validation_sets(made, config(task_name, length=16, seed=9, encoding="rope", data_seed=4, steps=7))
    assert [batch.tokens_BxT.shape for batch in one] == [(64, made.sequence(n)) for n in (8, 12, 16)]
    assert all(equal(*pair) for pair in zip(one, two, strict=True))


def test_validation_stays_within_the_training_lengths():
    made = task.build("copy")
    widths = [batch.tokens_BxT.shape[1] for batch in data.validation_sets(made, config(length=16, min_length=10), 2)]
    assert widths == [made.sequence(n) for n in (10, 12, 16)]
    assert [batch.tokens_BxT.shape[1] for batch in data.validation_sets(made, config(length=1), 2)] == [made.sequence(1)]


# ------------------------------------------------------------------------------------------------------------ fingerprints

GOLDEN = {  # 40 sequences of length 12, evaluation seed 0: a changed stream, law or format is noticed here
    "copy": "b1cf02ed",
    "reverse": "fda2728a",
    "sort": "7bb70646",
    "sort:distinct=true": "f0f33072",
    "recall": "b19bbed0",
    "parity": "39e21417",
    "parity:format=bit:law=count": "7ce31428",
}


@pytest.mark.parametrize("choice", GOLDEN)
def test_evaluation_sets_are_those_of_the_published_tables(choice):
    assert data.fingerprint(evaluation(choice, 12, 40)) == GOLDEN[choice]


def test_training_and_validation_strings_are_those_of_the_published_tables():
    assert data.fingerprint([data.train_batch(task.build("copy"), config(seed=1), 2)]) == "9424e3ec"
    assert data.fingerprint(data.validation_sets(task.build("copy"), config())) == "77b71413"


def test_a_fingerprint_is_eight_digits_that_any_token_or_mark_changes():
    blocks = evaluation("copy", 4, 33)
    before = data.fingerprint(blocks)
    assert len(before) == 8
    assert int(before, 16) >= 0
    assert before == data.fingerprint(evaluation("copy", 4, 33))
    seen = {before}
    for part in ("tokens_BxT", "answer_BxT"):
        for block, row, place in ((0, 0, 0), (0, 31, 10), (1, 0, 5)):
            array = getattr(blocks[block], part)
            kept = array[row, place]
            array[row, place] = not kept if array.dtype == bool else kept + 1
            seen.add(data.fingerprint(blocks))
            array[row, place] = kept
    assert len(seen) == 7
    assert data.fingerprint(blocks[:1]) not in seen
