"""Every `rpe` command of the pages that a reader follows runs, page by page, in the order of the page, with little training.

A command that stands on several pages runs once. `<!-- not run: rpe bench; rpe run every-task -->` on a page names the beginnings
of commands that take too long, or need what is not here.
"""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import test_docs_commands
from helpers import training as tiny

import docs
from rpecli.bench import in_turn
from rpecli.cli import _rounds
from rpecli.launch import budget, preflight
from rpecli.launch.budget import Plan
from rpecli.report.figures import report as figures

FIRST = [docs.ROOT / "README.md", *(docs.ROOT / f"docs/{name}.md" for name in (
    "tutorial", "choose", "extending", "encodings", "recipes", "tasks", "faq", "protocol", "reproduce", "howto"))]  # fmt: skip
ELSEWHERE = {"cli.md", "bench.md", "clusters.md"}  # the examples of --help, minutes of benchmarks, and what needs a cluster
FOLLOWED = list(
    dict.fromkeys([*FIRST, *(page for page in sorted((docs.ROOT / "docs").glob("*.md")) if page.name not in ELSEWHERE)])
)
NOT_RUN = re.compile(r"<!-- not run: (.*?) -->", re.DOTALL)
SIZE = {"steps": "2", "warmup": "1", "tokens": "128", "d-model": "16", "n-head": "2", "n-layer": "1"}
FEW = {"samples": "4", "lengths": "4,8", "eval-tokens": "256"}
SMALL = {"encoding": "rope", "seed": "0", "length": "4", "min-length": "1", "validate-every": "2"}
PROCESS = {"jobs": "0", "device": "cpu"}
FLAGS = {"train": SIZE | SMALL | PROCESS, "run": SIZE | SMALL | FEW | PROCESS | {"no-reference": None}, "eval": FEW | PROCESS,
         "report": {"no-reference": None}, "choose": PROCESS, "rm": {"yes": None}}  # fmt: skip
KEYS_OF_CHOOSE = ["--seeds=1", *(f"--set={key.replace('-', '_')}={value}" for key, value in {**SIZE, "samples": "4"}.items())]
IN_SMALL = {  # of the recipe quick, whose runs take minutes
    "--compare results/shipped/quick results/quick": "--compare results/small results/small",
    "--recipe quick": "--recipe ./small.yaml",
}
HEAVY = {"512:4096": "8", "1x:16x": "1x,2x", "1x:8x": "1x,2x"}  # lengths, and what takes their place


def long_ones(page: Path) -> list[str]:
    """The beginnings of the commands of a page that are not run."""
    return [
        part.strip() for text in NOT_RUN.findall(page.read_text(encoding="utf-8")) for part in " ".join(text.split()).split(";")
    ]


def followed(text: str) -> str:
    """A command as a reader types it who has the runs of `SETUP`."""
    return re.sub(r"\bRUN\b", "addition-rope-s0" if text.startswith("rpe rm") else "copy-alibi-s1", text)


def commands_of_pages() -> dict[Path, list[str]]:
    """The commands that each page is the first to have, in its order."""
    seen, by_page = set[str](), dict[Path, list[str]]()
    for page in FOLLOWED:
        typed = [followed(text) for _, text in test_docs_commands.commands([page])]
        own = [text for text in typed if not test_docs_commands.PLACEHOLDERS.search(text)]
        by_page[page] = [text for text in dict.fromkeys(own) if text not in seen and not text.startswith(tuple(long_ones(page)))]
        seen |= set(own)
    return {page: texts for page, texts in by_page.items() if texts}


PAGES = commands_of_pages()


def shortened(text: str) -> list[str]:
    """The words of a command behind `rpe`, with flags that keep it short where it has none of its own."""
    for part, small in IN_SMALL.items():
        text = text.replace(part, small)
    name, *words = [HEAVY.get(word, word) for word in shlex.split(text)[1:]]
    given = {word.partition("=")[0].removeprefix("--") for word in words if word.startswith("--")}
    given |= {"jobs"} if "-j" in words else set()
    if "steps" in given and name in ("run", "train"):
        words[words.index("--steps") + 1] = "3"
    if "seed" in given and name in ("run", "train"):
        words[words.index("--seed") + 1] = "0:2"
    flags = {flag: value for flag, value in FLAGS.get(name, {}).items() if flag not in given}
    if name == "eval" and "data" in given:  # the set has its own sequences
        flags = {flag: value for flag, value in flags.items() if flag not in FEW}
    if "compare" in given:  # which takes two studies and nothing else
        flags = {}
    more = KEYS_OF_CHOOSE if name == "choose" else []
    return [
        name,
        *words,
        *more,
        *(word for flag, value in flags.items() for word in ([f"--{flag}"] + ([value] if value else []))),
    ]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a reader has by then: rows, a text, an encoding, a task and recipes of their own, some runs, the shipped results."""
    folder = tmp_path_factory.mktemp("reader")
    texts = [["abcdef"[(i // 40 // 6 ** (k % 2) + i * k) % 6] for k in range(1 + i % 40)] for i in range(800)]
    rows = [{"input": " ".join(text), "target": " ".join(reversed(text))} for text in texts]
    for name in ("mine.jsonl", "pairs.jsonl"):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "pairs.csv").write_text("question,answer,target\n" + "".join(f"{r['input']},x,{r['target']}\n" for r in rows))
    (folder / "book.txt").write_text("It was the best of times, it was the worst of times. " * 300)
    extending = (docs.ROOT / "docs/extending.md").read_text(encoding="utf-8")
    example = next(code for code in re.findall(r"```python\n(.*?)```", extending, re.DOTALL) if "rpecli.encoding" in code)
    (folder / "mine.py").write_text(example)
    tutorial = re.search(r"```yaml\n(.*?)```", (docs.ROOT / "docs/tutorial.md").read_text(encoding="utf-8"), re.DOTALL)
    assert tutorial
    for name in ("first.yaml", "mine.yaml"):
        (folder / name).write_text(tutorial[1])
    (folder / "small.yaml").write_text(
        "".join(f"{key.replace('-', '_')}: {value}\n" for key, value in {**SIZE, **SMALL, "task": "copy"}.items())
    )
    (folder / "results").mkdir()
    shutil.copytree(docs.ROOT / "results/shipped/quick", folder / "results/shipped/quick")
    return folder


@pytest.fixture
def reader(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "reader"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """`rpe choose` takes a millisecond for a step; no report draws its figures in three kinds."""

    def measure(study, *_) -> Plan:
        ratios = dict.fromkeys(study.configs, 1.0)
        return Plan(asked_steps=2, fixed_steps=True, step_seconds=dict.fromkeys(study.configs, 0.001), step_ratio=ratios,
                    attention_ratio=ratios, attention_length=in_turn.ATTENTION_LENGTH)  # fmt: skip

    monkeypatch.setattr(_rounds, "measure", measure)
    monkeypatch.setattr(budget, "RUN_SECONDS", 0.1)
    monkeypatch.setattr(_rounds.Clock, "left", lambda clock, share=1.0: 5.0)  # for one seed of all
    monkeypatch.setattr(figures.Figures, "files", lambda drawn: {})
    monkeypatch.setattr(preflight, "_faults_of", lambda configs: {config: [] for config in configs})


SETUP = ["rpe train --task copy --encoding rope,alibi --seed 0:2", "rpe train --task addition --encoding rope",
         "rpe eval --lengths 4,8"]  # fmt: skip
OWN = ["rpe new encoding my-bias", "rpe new task my-task"]
OF_HOWTO = ["rpe run text --task text:path=book.txt", "rpe run quick", "rpe run ./small.yaml"]  # README.md has them
WITH_RUNS = {
    "howto.md",
    "robustness.md",
    "choose.md",
    "encodings.md",
    "recipes.md",
    "faq.md",
    "protocol.md",
}  # they work on runs of the reader


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_run(page: Path, reader: Path, rpe: tiny.Rpe) -> None:
    texts = ([*SETUP, *OWN] if page.name in WITH_RUNS else []) + (OF_HOWTO if page.name == "howto.md" else []) + PAGES[page]
    failures = list[str]()
    for text in dict.fromkeys(texts):
        words = shortened(text)
        if page.name in WITH_RUNS and words[0] == "train" and "--task" not in words:
            words += ["--task", "copy"]  # README.md trains on all four
        result = rpe(*words)
        if result.code != 0:
            failures.append(f"{text}\nas {shlex.join(words)}\n{result.err[-2000:]}")
    assert not failures, "\n\n".join(failures)


def test_a_mark_names_commands_of_its_page() -> None:
    for page in FOLLOWED:
        own = [followed(text) for _, text in test_docs_commands.commands([page])]
        for start in long_ones(page):
            assert any(text.startswith(start) for text in own), f"{page.name}: no command begins with {start!r}"
