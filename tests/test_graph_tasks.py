"""The input laws of the tasks about graphs: Depo and Brevo."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from rpecli import task as tasks
from rpecli.choice import ChoiceError
from rpecli.ragged import ABSENT
from rpecli.task import Batch

N = 6000
ROWS = json.loads((Path(__file__).parent / "golden_tasks" / "brevo.json").read_text())


def draw(choice: str, length: int, batch: int = N) -> np.ndarray:
    return tasks.build(choice).draw(np.random.default_rng(length), batch, length)


def assert_uniform(values: np.ndarray, first: int, last: int) -> None:
    counts = np.bincount(values.ravel(), minlength=last + 1)[first:]
    assert len(counts) == last - first + 1
    assert (abs(counts - values.size / len(counts)) < 5 * np.sqrt(values.size / len(counts))).all(), counts


def test_names_are_different_and_end_with_a_symbol_of_their_own() -> None:
    names = draw("depo:hops=8:queries=2", 5)[:, :10].reshape(N, 5, 2)
    size = (names != ABSENT).sum(axis=2)
    assert_uniform(size[:, 0], 1, 2)
    assert (np.take_along_axis(names, size[:, :, None] - 1, axis=2) >= 50).all()
    assert (names[size == 2][:, 0] < 50).all()
    assert all(len({tuple(name) for name in row}) == 5 for row in names.tolist())
    few = draw("depo:symbols=4:longest=1:queries=1", 2, 500)[:, :2]
    assert (few[:, 0] != few[:, 1]).all()


def test_edges_questions_and_hops_are_uniform() -> None:
    x = draw("depo:hops=8:queries=3", 4)[:, 8:]
    order, node, hops = x[:, :4], x[:, 4:7], x[:, 7:]
    assert (np.sort(order, axis=1) == np.arange(4)).all()
    assert_uniform(order[:, 0], 0, 3)
    assert_uniform(node[:, 1], 0, 3)
    assert all(len(set(row)) == 3 for row in node.tolist())
    assert_uniform(hops, 1, 8)


@pytest.mark.parametrize(("length", "queries", "asked"), [(1, 10, 1), (4, 10, 4), (12, 10, 10), (12, 3, 3)])
def test_there_are_as_many_questions_as_wanted_or_as_nodes(length: int, queries: int, asked: int) -> None:
    task = tasks.build(f"depo:queries={queries}")
    batch = task.sample(np.random.default_rng(0), 20, length)
    assert all(task.text(batch, row).count("=") == asked for row in range(20))
    assert all(task.text(batch, row).count("k") == asked for row in range(20))


def words(batch: Batch, row: int) -> list[str]:
    return tasks.build("brevo").text(batch, row).split()[1:]


def needed(text: list[str]) -> dict[str, list[str]]:
    mark = text.index("?")
    nodes = dict[str, list[str]]()
    for parent, child in zip(text[0:mark:2], text[1:mark:2], strict=True):
        nodes.setdefault(child, []).append(parent)
    return nodes


def test_a_graph_has_the_published_numbers_of_edges() -> None:
    """1 to (n-1) // 4 + 1 nodes depend on none, the others on 1 to 4; at most 4 depend on one."""
    task = tasks.build("brevo")
    batch = task.sample(np.random.default_rng(0), 2000, 9)
    free = Counter[int]()
    for row in range(2000):
        nodes = needed(words(batch, row))
        assert {1, 2, 3, 4} >= {len(parents) for parents in nodes.values()}
        uses = Counter(parent for parents in nodes.values() for parent in parents)
        assert max(uses.values()) <= 4
        assert all(len(set(parents)) == len(parents) for parents in nodes.values())
        free[9 - len(nodes)] += 1
    assert set(free) == {1, 2, 3}
    assert all(abs(count - 2000 / 3) < 5 * np.sqrt(2000 / 3) for count in free.values())


def test_a_node_depends_on_a_uniform_number_of_those_before() -> None:
    from_last = Counter(len(needed(words(batch, row))[batch_last(batch, row)]) for batch in [sample(6)] for row in range(N))
    assert all(abs(from_last[k] - N / 4) < 5 * np.sqrt(N / 4) for k in range(1, 5)), from_last


def sample(length: int) -> Batch:
    return tasks.build("brevo").sample(np.random.default_rng(1), N, length)


def batch_last(batch: Batch, row: int) -> str:
    text = words(batch, row)
    return text[text.index("?") + 1]


def test_of_two_nodes_that_either_may_come_last_each_does_as_often() -> None:
    """4 nodes, the last of which depends on two that depend on the first."""
    first = Counter[bool]()
    batch = sample(4)
    for row in range(N):
        text = words(batch, row)
        mark, nodes = text.index("|"), needed(text)
        if sorted(map(len, nodes.values())) == [1, 1, 2]:
            order = [word.rpartition("}")[2] for word in text[mark + 1 :] if "}" in word]
            if len(order) == 5 and set(nodes[order[3]]) == {order[1], order[2]}:
                first[order[1] < order[2]] += 1
    assert first.total() > 200
    assert abs(first[True] - first.total() / 2) < 5 * np.sqrt(first.total() / 2)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(len(row["x"]) // 9))
def test_an_order_of_the_public_generator_is_one_of_those_allowed(row: dict[str, list[int]]) -> None:
    batch = tasks.build("brevo").layout(np.array([row["x"]]))
    assert batch.sets_BxT is not None
    assert ((batch.sets_BxT >> batch.tokens_BxT & 1) == batch.answer_mask_BxT).all()


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("depo:hops=0", "one hop, one question, two symbols at least"),
        ("depo:shortest=3", "names have 1 to 1,000 symbols"),
        ("brevo:names=58", "names is 4 to 57"),
        ("compression:symbols=2", "is at least 3"),
        ("fuzzy-recall:keys=2", "keys is 3 or any"),
        ("fuzzy-recall:symbols=5", "symbols is at least 6"),
    ],
)
def test_an_option_out_of_range_is_refused(choice: str, message: str) -> None:
    with pytest.raises(ChoiceError, match=message):
        tasks.build(choice)
