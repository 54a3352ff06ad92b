"""The input laws of the tasks of recall, memory and state tracking, and what their formats promise."""

from collections import Counter

import numpy as np
import pytest

from rpecli import data
from rpecli import task as tasks
from rpecli.choice import ChoiceError
from rpecli.config.recipe import Config
from rpecli.task import BOS, PAD

N = 6000


def draw(choice: str, length: int, batch: int = N) -> np.ndarray:
    return tasks.build(choice).draw(np.random.default_rng(length), batch, length)


def texts(choice: str, length: int, batch: int) -> list[str]:
    task = tasks.build(choice)
    batch_of = task.sample(np.random.default_rng(length), batch, length)
    return [task.text(batch_of, row) for row in range(batch)]


def assert_uniform(counts: np.ndarray) -> None:
    assert_counts(counts, np.full(len(counts), counts.sum() / len(counts)))


def assert_counts(counts: np.ndarray, expected: np.ndarray) -> None:
    assert (abs(counts - expected) < 5 * np.sqrt(expected) + 1).all(), (counts, expected)


def test_keys_and_values_of_a_string_are_different_and_uniform() -> None:
    x = draw("mqar:every=4:symbols=16", 16)
    keys, values = x[:, 0:8:2], x[:, 1:8:2]
    for part, first, last in ((keys, 1, 7), (values, 8, 15)):
        assert (np.diff(np.sort(part, axis=1), axis=1) > 0).all()
        for place in range(4):
            assert_uniform(np.bincount(part[:, place], minlength=last + 1)[first:])


def test_a_question_comes_after_a_gap_of_the_published_law() -> None:
    """One pair in 34 places: 16 gaps, of weight g^-0.99."""
    x = draw("mqar:every=34", 34, 20_000)
    gap = (x >= 256).argmax(axis=1) // 2 - 1  # behind the pair, in steps of two places
    weight = np.arange(1, 17) ** -0.99
    assert_counts(np.bincount(gap, minlength=16), 20_000 * weight / weight.sum())


def test_filler_holds_no_key_of_its_string_unless_it_may() -> None:
    def contradicted(choice: str) -> float:
        x = draw(choice, 64, 500)
        is_question = np.roll(x >= 64, -1, axis=1)
        keys = x[:, 0:8:2]
        stray = (x[:, 8:, None] == keys[:, None]).any(axis=2) & ~is_question[:, 8:]
        return float(stray.any(axis=1).mean())

    assert contradicted("mqar:symbols=64") == 0
    assert contradicted("mqar:symbols=64:filler=any") > 0.9
    assert contradicted("mqar:symbols=64:filler=blank") == 0
    filler = draw("mqar:symbols=16:every=20", 20, N)[:, 2:]
    assert (np.bincount(filler[filler < 16], minlength=16) > 0).all(), "all other symbols are filler"


@pytest.mark.parametrize(("length", "pairs", "queries"), [(1, 1, 1), (5, 2, 1), (50, 20, 10), (100, 32, 20), (160, 32, 32)])
def test_a_word_problem_has_the_published_numbers_of_pairs_and_questions(length: int, pairs: int, queries: int) -> None:
    x = draw("mqar-word", length, 200)
    assert x.shape[1] == 2 * pairs + 1 + queries
    assert (x[:, 2 * pairs] == 34).all()
    for row in x:
        assert len(set(row[0 : 2 * pairs : 2])) == pairs
        assert len(set(row[2 * pairs + 1 :])) == queries
        assert set(row[2 * pairs + 1 :]) <= set(row[0 : 2 * pairs : 2])
    assert tasks.build("mqar-word").longest() == 160


@pytest.mark.parametrize(("choice", "sizes"), [("fuzzy-recall", {3}), ("fuzzy-recall:keys=any", {1, 2, 3})])
def test_a_fuzzy_key_has_one_value_and_the_last_key_is_one_before(choice: str, sizes: set[int]) -> None:
    x = draw(choice, 32, 500).reshape(500, -1, 2, 3)
    lasts = Counter[int]()
    for row in x.tolist():
        pairs = [tuple(tuple(s for s in part if s >= 0) for part in pair) for pair in row if pair[0][0] >= 0]
        table = dict(pairs)
        assert all(table[key] == value for key, value in pairs)
        assert {len(key) for key, _ in pairs} <= sizes
        assert all(len(set(part)) == len(part) for pair in pairs for part in pair)
        assert sum(len(key) + len(value) for key, value in pairs[:-1]) <= 26
        assert pairs[-1] in pairs[:-1]
        lasts[pairs.index(pairs[-1])] += 1
    assert min(lasts[place] for place in range(4)) > 40, "the pair that is asked for is uniform"


def test_fuzzy_keys_and_the_sizes_of_values_are_uniform() -> None:
    x = draw("fuzzy-recall", 12).reshape(N, 2, 2, 3)
    for place in range(3):
        assert_uniform(np.bincount(x[:, 0, 0, place], minlength=7))
    assert_uniform(np.bincount((x[:, 0, 1] >= 0).sum(axis=1), minlength=4)[1:])
    assert_uniform(np.bincount(x[:, 0, 1, 0], minlength=15)[7:])


def test_the_earlier_occurrence_of_a_key_is_at_a_uniform_place() -> None:
    x = draw("multi-key-recall:k=2:symbols=1000000000", 9)
    place = (x[:, :6] == x[:, 7, None]).argmax(axis=1)
    assert_uniform(np.bincount(place, minlength=6))
    assert (x[np.arange(N), place + 1] == x[:, 8]).all()


def test_instructions_of_a_register_have_their_shares() -> None:
    for choice, shares in {"flip-flop": [0.1, 0.8, 0.1], "flip-flop:ignore=0.1": [0.45, 0.1, 0.45]}.items():
        x = draw(choice, 10)
        assert (x[:, 0] == 2).all()
        assert (x[:, -2] == 4).all()
        counts = np.bincount(x[:, 2:-2:2].ravel(), minlength=5)[2:]
        assert_counts(counts, 8 * N * np.array(shares))
        assert_uniform(np.bincount(x[:, 1]))


def test_a_language_model_of_a_register_is_trained_on_every_symbol_and_scored_on_reads() -> None:
    config = Config(task="flip-flop:format=lm", encoding="rope")
    task = tasks.build(config.task)
    batch = task.layout(np.array([[2, 1, 3, 0, 4, 1, 2, 0, 4, 0]]))
    assert task.text(batch) == "> w 1 i 0 r [1] w 0 r [0]"
    examples = data.shift_targets(batch, config)
    assert examples.trained_mask_BxT.all()
    assert np.flatnonzero(examples.scored_BxT[0]).tolist() == [5, 9]
    for other in ("flip-flop:format=lm:ignore=0.98", "flip-flop:format=lm:ignore=0.1", "flip-flop:ignore=0.98"):
        assert tasks.build(other).vocabulary == task.vocabulary


def test_blanks_stand_before_symbols_uniformly_and_never_behind_the_last() -> None:
    x = draw("selective-copy", 12)  # 4 symbols, 3 blanks
    assert x.shape == (N, 7)
    assert (x[:, -1] != 14).all()
    blanks_before = np.stack([np.diff(np.flatnonzero(row != 14), prepend=-1) - 1 for row in x])
    assert_counts(blanks_before.sum(axis=0), np.full(4, 3 * N / 4))
    assert_counts(np.bincount(blanks_before[:, 0], minlength=4), N * np.array([27, 27, 9, 1]) / 64)  # binomial of 3 and 1/4
    assert [n for n in range(13) if tasks.build("selective-copy").has_length(n)] == [10, 11, 12]


def test_the_last_number_points_into_the_string() -> None:
    """Of the strings of two over #1 and #2 and another symbol, all but that without a number are as likely."""
    x = draw("relative-address:numbers=2:others=1", 2)
    counts = np.bincount(x @ [3, 1], minlength=9)
    assert counts[8] == 0
    assert_uniform(counts[:8])
    assert texts("relative-address", 1, 3) == ["> #1 | [#1] ."] * 3


def test_a_symbol_returns_k_places_later_half_the_time() -> None:
    x = draw("k-back:symbols=3", 8)
    same = x[:, 2:] == x[:, :-2]
    assert_counts(same.sum(axis=0), np.full(6, N / 2))
    step = (x[:, 2:] - x[:, :-2])[~same] % 3
    assert_uniform(np.bincount(step, minlength=3)[1:])
    assert_uniform(np.bincount(x[:, 5]))


def test_every_string_of_which_the_last_symbol_has_stood_before_is_as_likely() -> None:
    counts = np.bincount(draw("induction:symbols=2", 3) @ [4, 2, 1], minlength=8)
    assert np.flatnonzero(counts == 0).tolist() == [0b001, 0b110]
    assert_uniform(counts[counts > 0])


def test_hops_follow_the_definition() -> None:
    """From d: behind the d before it stands b; behind the b before that, c; behind the c before that, a."""
    x = np.array([[2, 0, 1, 2, 3, 1, 3]])  # c a b c d b d
    answers = [tasks.build(f"induction:hops={hops}").layout(x) for hops in (1, 2, 3)]
    assert [tasks.build("induction").text(batch)[-5:-2] for batch in answers] == ["[b]", "[c]", "[a]"]


def test_needles_stand_anywhere_without_overlap_and_each_is_asked_for() -> None:
    x = draw("needle:needles=2", 6)
    places = [tuple(np.flatnonzero(row < 16)) for row in x[:, :-1]]
    counts = Counter(places)
    assert set(counts) == {(0, 2), (0, 3), (0, 4), (1, 3), (1, 4), (2, 4)}
    assert_uniform(np.array(list(counts.values())))
    asked_first = (x[:, -1] == x[np.arange(N), [first for first, _ in places]]).sum()
    assert_counts(np.array([asked_first]), np.array([N / 2]))


def test_assignments_of_chains_are_mixed_in_every_way() -> None:
    """Two chains of two: six orders; a variable is assigned after the one that it is set to."""
    x = draw("variable-tracking:hops=1", 12)
    assigned = x[:, :-2].reshape(N, 4, 3)
    orders = Counter()
    for names, sources in zip(assigned[:, :, 0].tolist(), assigned[:, :, 2].tolist(), strict=True):
        chain: dict[int, int] = {}
        for name, source in zip(names, sources, strict=True):
            assert source >= 26 or source in chain
            chain[name] = chain.get(source, source)
        first = chain[names[0]]
        orders[tuple(chain[name] == first for name in names)] += 1
    assert len(orders) == 3
    assert_uniform(np.array(list(orders.values())))
    noise = draw("variable-tracking:hops=0:chains=1", 5)[:, :5] == 36
    assert_uniform(np.bincount((~noise).argmax(axis=1), minlength=3))


def test_a_key_keeps_its_value_and_the_last_key_has_been_shown() -> None:
    x = draw("in-context-recall:noise=0.5", 12, 2000)
    for row in x.reshape(2000, 6, 2).tolist():
        assert all((key < 8) == (8 <= value < 16) for key, value in row)
        shown = [(key, value) for key, value in row if key < 8]
        assert len(set(shown)) == len({key for key, _ in shown})
        assert row[-1] in row[:-1]
    noise_share = (x.reshape(2000, 6, 2)[:, :-1, 0] >= 16).mean()
    assert noise_share == pytest.approx(0.5 * 4 / 5, abs=0.02)  # of the first five pairs one never is noise


def test_memory_has_one_table_of_different_values() -> None:
    table = tasks.build("memorization").value_K  # type: ignore[attr-defined]
    assert len(set(table.tolist())) == 127
    assert table.min() >= 127
    assert table.max() <= 254


@pytest.mark.parametrize(("group", "order"), [("S3", 6), ("S4", 24), ("S5", 120), ("A4", 12), ("A5", 60), ("Z60", 60)])
def test_a_group_is_a_group(group: str, order: int) -> None:
    task = tasks.build(f"group-word:group={group}")
    product, everything = task.product_GxG, np.arange(order)  # type: ignore[attr-defined]
    assert product.shape == (order, order)
    assert (product[0] == everything).all()
    assert (product[:, 0] == everything).all(), "the first element is the neutral one"
    assert (np.sort(product, axis=0) == everything[:, None]).all()
    assert (np.sort(product, axis=1) == everything).all()
    a, b, c = np.random.default_rng(0).integers(order, size=(3, 500))
    assert (product[product[a, b], c] == product[a, product[b, c]]).all()
    assert (product == product.T).all() == group.startswith("Z")
    assert task.order_matters != group.startswith("Z")


def test_operands_of_an_expression_have_uniform_sizes() -> None:
    """Of two operators, the second is in the first operand or in the second, each half the time."""
    x = draw("mano", 2)
    assert_counts(np.array([(x[:, 1] >= 23).sum()]), np.array([N / 2]))
    assert_uniform(np.bincount(x[:, 0] - 23))
    assert_uniform(np.bincount(x[:, -1], minlength=23))


def test_a_running_format_has_an_answer_behind_every_symbol_and_no_end() -> None:
    batch = tasks.build("offset-retrieval:format=running:k=2").layout(np.array([[5, 6, 7, 8]]))
    assert batch.tokens_BxT.tolist() == [[BOS, 9, 10, 11, 9, 12, 10]]
    assert np.flatnonzero(batch.answer_mask_BxT).tolist() == [4, 6]
    assert not (batch.tokens_BxT == PAD).any()


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("mqar:every=3", "a pair and its question take 4 places"),
        ("mqar:filler=none", "filler is other, any or blank"),
        ("mqar:symbols=7", "an even number"),
        ("mqar-word:queries=1", "a share between 0 and 1"),
        ("multi-key-recall:k=0", "k is at least 1"),
        ("flip-flop:format=first", "format is last or lm"),
        ("flip-flop:ignore=1", "less than 1"),
        ("selective-copy:copies=0", "copies is at least 1"),
        ("relative-address:numbers=0", "at least one number"),
        ("offset-retrieval:k=0", "k is at least 1"),
        ("k-back:symbols=25", "symbols is 2 to 24"),
        ("induction:hops=0", "hops is at least 1"),
        ("needle:needles=17", "needles is 1 to 16"),
        ("variable-tracking:chains=5:hops=5", "at most 26 variables"),
        ("in-context-recall:noise=1", "less than 1"),
        ("group-word:group=D4", "group is S3 to S6"),
        ("group-word:group=S9", "group is S3 to S6"),
        ("mano:modulus=1", "modulus is at least 2"),
    ],
)
def test_an_option_without_a_meaning_is_refused(choice: str, message: str) -> None:
    with pytest.raises(ChoiceError, match=message):
        tasks.build(choice)
