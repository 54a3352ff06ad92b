"""Solvers of the tasks about graphs, from their definitions."""

from functools import partial
from itertools import takewhile


def names_of(words: list[str], symbols: int) -> list[tuple[str, ...]]:
    """Words cut into names, behind each symbol that only ends one."""
    names, name = [], list[str]()
    for word in words:
        name.append(word)
        if int(word) > symbols:
            names.append(tuple(name))
            name = []
    assert not name
    return names


def depo(words: list[str], symbols: int) -> list[str]:
    edges = names_of(list(takewhile(lambda word: word[0] != "k", words)), symbols)
    following = dict(zip(edges[::2], edges[1::2], strict=True))
    assert len(following) == len(edges) // 2 == len(set(following.values()))
    answers = []
    for question in " ".join(words[sum(map(len, edges)) :]).split(" ="):
        if question:
            hops, *name = question.split()
            node = tuple(name)
            for _ in range(int(hops[1:])):
                node = following[node]
            answers += node
    return answers


def brevo(words: list[str]) -> list[set[str]]:
    """The words of the answer are read too."""
    mark = words.index("?")
    edges, query, order = words[:mark], words[mark + 1], words[mark + 2 :]
    needs: dict[str, set[str]] = {}
    for parent, child in zip(edges[::2], edges[1::2], strict=True):
        needs.setdefault(child, set()).add(parent)
    wanted, stack = set[str](), [query]
    while stack:
        if (node := stack.pop()) not in wanted:
            wanted.add(node)
            stack += needs.get(node, set())
    sets = []
    for i in range(len(order) + 1):
        done = set(order[:i])
        sets.append({node for node in wanted - done if needs.get(node, set()) <= done} or {"."})
    assert order[-1] == query
    assert set(order) == wanted
    return sets


SOLVERS = {
    "depo": partial(depo, symbols=50),
    "depo:hops=8": partial(depo, symbols=50),
    "depo:queries=1:hops=8": partial(depo, symbols=50),
    "depo:hops=16:longest=7:shortest=5:symbols=3": partial(depo, symbols=3),
    "brevo": brevo,
    "brevo:names=12": brevo,
}
