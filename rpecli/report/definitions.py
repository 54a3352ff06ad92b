"""What the encodings of a report are: definition, formula, paper and kernel, as their files state them."""

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rpecli import encoding_facts
from rpecli.attention import kernels
from rpecli.choice import ChoiceError, is_path, parse_choice, split_layers, split_switch
from rpecli.table import slug
from rpecli.titles import display

ARXIV = re.compile(r"arXiv (\d{4}\.\d{4,5})")
ORDER = list(kernels.COST)  # of kernels, from the cheapest


@dataclass(frozen=True)
class Definition:
    """One encoding: its name as people know it, a sentence, its formula, where it was published, and how it computes."""

    name: str
    title: str
    facts: encoding_facts.EncodingFacts

    @property
    def id(self) -> str:
        """Of its place on a page."""
        return f"encoding-{slug(self.name)}"

    @property
    def formula(self) -> str:
        """The paragraph after the first sentence of its file, without the spaces that lay it out."""
        lines = self.facts.about.partition("\n\n")[0].splitlines()
        return "\n".join(re.sub(r" {3,}", "  ", line.strip()) for line in lines)

    @property
    def paper(self) -> str:
        """Title and year."""
        return " ".join(filter(None, (self.facts.title, self.facts.year and f"({self.facts.year})")))

    @property
    def address(self) -> str | None:
        """Of the paper, where it is on arXiv."""
        match = ARXIV.search(self.facts.source)
        return f"https://arxiv.org/abs/{match[1]}" if match else None


def definitions(choices: Iterable[str]) -> dict[str, Definition]:
    """The definitions of all encodings that occur in these choices, by name; without those whose file is not here."""
    names = dict.fromkeys(name for choice in choices for name in names_in(choice))
    stated = {}
    for name in names:
        with suppress(ChoiceError, OSError, SyntaxError):
            stated[name] = Definition(
                Path(name).stem if is_path(name) else name, display("encodings", name), encoding_facts.read(name)
            )
    return stated


def names_in(choice: str) -> list[str]:
    """The encodings of a choice, without their options: those of `rope+alibi:then=none` are rope, alibi and none."""
    return [parse_choice(part)[0] for phase in split_switch(choice) if phase for part in split_layers(phase)]


def kernel_of(choice: str, known: dict[str, Definition]) -> str | None:
    """The dearest kernel that attention needs for a choice; None where it is not known."""
    names = names_in(choice)
    if not all(name in known for name in names):
        return None
    return max((known[name].facts.kernel for name in names), key=ORDER.index)
