"""What tests of the command share: a user's own files, and tables read back from Markdown."""

import re

ENCODING = '''"""Adds a number of its own to every score; a user's own file."""

import torch

from rpecli.encoding import DistanceBias


class Mine(DistanceBias):
    group = "RPE"

    def by_distance(self, distance):
        return -0.5 * distance.expand(self.shape.n_head, *distance.shape)
'''
TASK = '''"""Say the first symbol; a user's own file."""

from rpecli.task import Task, prompt_answer


class First(Task):
    symbols = 5
    defaults = {"length": 3}
    examples = (([2, 4], "> 2 4 | [2] ."),)

    def draw(self, rng, batch, length):
        return rng.integers(self.symbols, size=(batch, length))

    def layout(self, x_BxN):
        return prompt_answer(x_BxN, x_BxN[:, :1])
'''


def tables(text: str) -> list[list[dict[str, str]]]:
    """The Markdown tables in a text, each as a list of rows by column."""
    parsed = []
    for block in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
        head, rule, *rows = ([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in block.splitlines())
        assert all(re.fullmatch(":-+|-+:", cell) for cell in rule)
        parsed.append([dict(zip(head, row, strict=True)) for row in rows])
    return parsed


def table(text: str) -> list[dict[str, str]]:
    """The first table in a text."""
    return tables(text)[0]
