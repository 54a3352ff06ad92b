"""Every `rpe` command in README.md and docs/ has flags, names and values that exist; what it does is tested elsewhere."""

import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import typer

import docs
from rpecli import catalog
from rpecli.choice import ChoiceError
from rpecli.cli.app import app
from rpecli.config.settings import EncodingChoices, Lengths, PositionsList, Seeds, Strict, TaskChoices

PLACEHOLDERS = re.compile(r"\b(?:COMMAND|NAME|ENCODING|TASK|RUN|RECIPE|FOLDER|FILE|RUNS|ID)\b|\.\.\.|\[")  # stand for a word
OWN = re.compile(r"\.(?:py|yaml|jsonl|csv|txt)\b|data:path|text:path")  # files of the reader
FENCED = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINE, INLINE = re.compile(r"^\s*(?:.*&& )?(?:\.venv/bin/)?(rpe .+)$", re.MULTILINE), re.compile(r"`(rpe [^`]+)`")


class Values(Strict):
    """The keys whose values are names."""

    task: TaskChoices = []
    encoding: EncodingChoices = []
    positions: PositionsList = []
    seed: Seeds = []
    lengths: Lengths = "1x"


def commands(pages: Iterable[Path] = docs.PAGES) -> Iterator[tuple[str, str]]:
    """Every command with the page that it is on. `rpe eval --data` in a sentence is a mention, not a command."""
    for page in pages:
        text = page.read_text(encoding="utf-8")
        fenced = [line for block in FENCED.findall(text) for line in LINE.findall(block)]
        inline = [
            code for code in INLINE.findall(FENCED.sub("", text)) if not code.split()[-1].startswith("--") and " " in code[4:]
        ]
        for command in [*fenced, *inline]:
            yield page.name, command.split("  #")[0].strip().replace("\\|", "|")


ALL = sorted(set(commands()))
WHOLE = [(page, text) for page, text in ALL if not PLACEHOLDERS.search(text)]


def test_there_are_commands_to_check() -> None:
    assert len(WHOLE) > 60


@pytest.mark.parametrize(("page", "text"), WHOLE, ids=[f"{page}: {text}" for page, text in WHOLE])
def test_a_command_of_the_docs_has_flags_and_names_that_exist(page: str, text: str) -> None:
    _, *words = shlex.split(text)
    group = typer.main.get_command(app)
    if not words or words[0].startswith("-"):
        return
    assert words[0] in group.commands, f"{page}: {text}"  # type: ignore[attr-defined]
    command = group.commands[words[0]]  # type: ignore[attr-defined]
    values = command.make_context(words[0], list(words[1:])).params if "--help" not in words else {}
    named = {key: value for key, value in values.items() if key in Values.model_fields and value and not OWN.search(str(value))}
    Values(**named)
    recipe = values.get("recipe")
    if recipe and not OWN.search(recipe):
        assert recipe in catalog.names("recipes"), f"{page}: {text}"
    if words[0] == "show" and values.get("name") and not OWN.search(values["name"]) and not re.search(r"-s0|\*", values["name"]):
        kinds = [kind for kind in ("encodings", "tasks") if _exists(kind, values["name"].split(":")[0])]
        assert kinds, f"{page}: {text}"


def _exists(kind: str, name: str) -> bool:
    try:
        return bool(catalog.find(kind, name))
    except ChoiceError:
        return False


@pytest.mark.parametrize("page", docs.PAGES, ids=lambda page: page.name)
def test_a_page_names_no_file_of_this_machine(page: Path) -> None:
    assert not re.search(r"/(?:root|home|work)/", page.read_text(encoding="utf-8"))
