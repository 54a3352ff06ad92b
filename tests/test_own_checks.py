"""`rpe new` writes files that run and pass, and `rpe check` names the line that breaks each of the things that must hold."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import training as tiny

from rpecli import catalog
from rpecli import task as tasks
from rpecli.trial import encoding_checks, task_checks
from rpecli.trial.checks import FAILED, NOT_APPLICABLE, OK
from rpecli.trial.child import Trial, results_of

TINY = ("--length", 4, "--d-model", 16, "--n-layer", 1, "--n-head", 2, "--jobs", 0, "--device", "cpu")
KINDS = ("encoding", "task")


def outcomes(text: str) -> dict[str, str]:
    """What `rpe check` printed: outcome by check, with what stands behind it."""
    lines = [re.fullmatch(r"  (\w+) +(ok|failed|does not apply)  (.*)", line) for line in text.splitlines()]
    return {match[1]: f"{match[2]}: {match[3]}" for match in lines if match}


@pytest.mark.parametrize("kind", KINDS)
def test_what_new_writes_passes_every_check_and_trains(kind: str, rpe: tiny.Rpe, here: Path) -> None:
    written = rpe("new", kind, "my-own")
    assert (written.code, written.err) == (0, "Written: my_own.py\n")
    commands = [line.split() for line in written.out.splitlines() if line.startswith("  rpe")]
    assert [command[1] for command in commands] == ["show", "check", "run"]
    text = Path("my_own.py").read_text()
    assert "class MyOwn(" in text
    assert "Template" not in text
    assert "FILE" not in text
    assert rpe(*commands[0][1:]).code == 0
    checked = rpe(*commands[1][1:])
    assert (checked.code, checked.err) == (0, "")
    assert not [line for line in outcomes(checked.out).values() if line.startswith("failed")]
    assert rpe("train", f"--{kind}", "./my_own.py", "--steps", 20, *TINY).code == 0
    train = rpe("train", *commands[2][2:], "--steps", 3, *TINY)  # what `rpe run` does first, with the same flags
    assert train.code == 0, train.err


def test_a_file_is_never_overwritten(rpe: tiny.Rpe, here: Path) -> None:
    Path("mine.py").write_text("mine")
    result = rpe("new", "task", "mine")
    assert (result.code, result.out, result.err) == (2, "", "mine.py is there already: choose another name, or delete it\n")
    assert Path("mine.py").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Mine", "write lower-case letters"),
        ("my bias", "write lower-case letters"),
        ("../mine", "write lower-case letters"),
        ("2nd", "write lower-case letters"),
        ("-", "write lower-case letters"),
        ("my-", "write lower-case letters"),
        ("rope", "one of the encodings that ship: write another, such as my-rope"),
        ("transformer_xl", "one of the encodings that ship"),
        ("copy", "one of the tasks that ship"),
        ("quick", "one of the recipes that ship"),
        ("class", "Python has a module or a word class"),
        ("random", "Python has a module or a word random"),
        ("numpy", "Python has a module or a word numpy"),
        ("tensor", "the file needs Tensor"),
    ],
)
def test_a_name_that_cannot_be_is_refused(name: str, reason: str, rpe: tiny.Rpe, here: Path) -> None:
    result = rpe("new", "encoding", *(["--"] if name.startswith("-") else []), name)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert reason in result.err
    assert not list(here.iterdir())


def test_a_folder_that_cannot_be_written_is_told(rpe: tiny.Rpe, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    result = rpe("new", "task", "mine")
    assert (result.code, result.err) == (1, "mine.py cannot be written: permission denied\n")


def test_new_loads_nothing_heavy(here: Path) -> None:
    code = "import sys; from rpecli.cli import app\ntry: app.main()\nexcept SystemExit: pass\nprint(*sys.modules)"
    command = [sys.executable, "-c", code, "new", "task", "mine"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=here, env={"PYTHONPATH": str(catalog.PACKAGE.parent)})
    assert "Next:" in done.stdout
    assert not {name.partition(".")[0] for name in done.stdout.split()} & {"torch", "numpy", "pandas", "matplotlib"}


def checked(kind: str, choice: str) -> dict[str, str]:
    """Outcome and text of every check, in this process's child."""
    checks = encoding_checks.CHECKS if kind == "encodings" else task_checks.CHECKS
    results = results_of([Trial(kind, choice, lengths=(32,), check=check) for check in checks])
    return dict(zip(checks, (f"{result.outcome}: {result.text}" for result in results), strict=True))


def failure_at(kind: str, text: str, check: str, marked: str) -> str:
    """What a check says of a file of this text, which fails it and names the line with the marked words."""
    Path("mine.py").write_text(text)
    line = next(number for number, line in enumerate(text.splitlines(), start=1) if marked in line)
    result = checked(kind, str(Path("mine.py").resolve()))[check]
    assert result.startswith(f"failed: mine.py:{line}: "), result
    return result


NOT_OF = {"none": ["gradients"], "sinusoidal": ["gradients"], "rope:scaling=yarn": ["gradients"], "abacus": ["stacked"]}


@pytest.mark.parametrize("encoding", ["learned", "t5", "fire", "fox", "dape", "bipe", *NOT_OF])
def test_shipped_encodings_pass_every_check(encoding: str) -> None:
    results = checked("encodings", encoding)
    assert not [(name, text) for name, text in results.items() if text.startswith(FAILED)]
    assert [name for name, text in results.items() if text.startswith(NOT_APPLICABLE)] == NOT_OF.get(encoding, [])


@pytest.mark.parametrize("task", ["copy", "parity:format=bit", "tomita", "mqar", "scan", "sort", "addition"])
def test_shipped_tasks_pass_every_check(task: str) -> None:
    assert not [(name, text) for name, text in checked("tasks", task).items() if text.startswith(FAILED)]


HEAD = '''"""Mine."""

import torch
from torch import Tensor, nn

from rpecli.encoding import DistanceBias, Encoding, Shape


class Mine(Encoding):
'''
INIT = """    def __init__(self, shape: Shape):
        super().__init__(shape)
"""
BROKEN_ENCODINGS = {  # name: (the check, the body of the class, the text of the line that is named, what is said)
    "shapes": ("shapes", "    def embed(self, x, positions, ids):\n        return x[:, :1]\n", "def embed", "returned shape"),
    "positions of one token": (
        "shapes",
        "    def relocate(self, positions, ids):\n        return positions[:, -1:]\n",
        "def relocate",
        "returned int64 [",
    ),
    "positions that are no whole numbers": (
        "shapes",
        "    def relocate(self, positions, ids):\n        return positions / 2\n",
        "def relocate",
        "returned float32 [",
    ),
    "positions that descend": (
        "shapes",
        "    def relocate(self, positions, ids):\n        return -positions\n",
        "def relocate",
        "positions that descend",
    ),
    "its input": (
        "shapes",
        "    def score(self, logits, qk):\n        qk.k_BxHxSxD.zero_()\n        return logits\n",
        "def score",
        "score: changed its input",
    ),
    "random numbers": (
        "shapes",
        "    def score(self, logits, qk):\n        return logits + torch.rand_like(logits)\n",
        "def score",
        "score: returned other numbers for the same input",
    ),
    "a root far away": (
        "shapes",
        "    def score(self, logits, qk):\n        return logits + (40.0 - qk.distance_BxTxS[:, None]).sqrt()\n",
        "def score",
        "score at twice the training length: returned NaN",
    ),
    "its neighbours": (
        "batch",
        "    def score(self, logits, qk):\n        return logits + logits.mean(0, keepdim=True)\n",
        "def score",
        "in a batch of 3, hidden states differ by",
    ),
    "features of the whole sequence": (
        "causality",
        INIT + "        self.w = nn.Linear(shape.d_model, shape.n_head)\n"
        "    def features(self, x):\n        return self.w(x - x.mean(1, keepdim=True)).transpose(1, 2)[..., None]\n"
        "    def score(self, logits, qk):\n        return logits + qk.k_feat_BxHxSxF.transpose(2, 3)\n",
        "def features",
        "depends on token 2, which comes later",
    ),
    "the next score": (
        "causality",
        "    def score(self, logits, qk):\n        return logits + logits.roll(-1, dims=-1)\n",
        "def score",
        "the output of token 1 depends on token 2",
    ),
    "an arange": (
        "decoding",
        "    def bias(self, q_pos, k_pos):\n        q, k = (torch.arange(p.shape[1]) for p in (q_pos, k_pos))\n"
        "        distance = q[:, None] - k\n        return -distance.abs().float().expand(1, self.shape.n_head, -1, -1)\n",
        "def bias",
        "hidden states differ by",
    ),
    "places instead of positions": (
        "padding",
        "    shift_invariant = False\n    def embed(self, x, positions, ids):\n"
        "        place = torch.arange(ids.shape[1])[-x.shape[1] :]\n"
        "        return x + (place[:, None] * torch.arange(x.shape[2])).sin()\n",
        "def embed",
        "padding changes hidden states by",
    ),
    "a position of the key": (
        "shift",
        "    def bias(self, q_pos, k_pos):\n        bias = 0.01 * (k_pos * q_pos[:, -1:])[:, None, None].float()\n"
        "        return bias.expand(-1, self.shape.n_head, q_pos.shape[1], -1)\n",
        "def bias",
        "and shift_invariant = True says that they do not",
    ),
    "no such change": ("shift", "    shift_invariant = False\n", "shift_invariant", "write shift_invariant = True"),
    "too large a number": (
        "finite",
        "    def bias(self, q_pos, k_pos):\n        distance = (q_pos[:, :, None] - k_pos[:, None, :]).float()\n"
        "        return distance[:, None].exp().expand(-1, self.shape.n_head, -1, -1)\n",
        "def bias",
        "NaN or infinite at 256 tokens",
    ),
    "a parameter without use": (
        "gradients",
        INIT + "        self.unused = nn.Parameter(torch.zeros(3))\n",
        "self.unused",
        "unused: gets no gradient",
    ),
    "a count of calls": (
        "stacked",
        "    calls = 0\n    def score(self, logits, qk):\n        Mine.calls += 1\n"
        "        return logits * Mine.calls\n",
        "class Mine",
        "a stacked step is not the step alone",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN_ENCODINGS)
def test_the_line_that_breaks_an_encoding_is_named(name: str, here: Path) -> None:
    check, body, marked, said = BROKEN_ENCODINGS[name]
    assert said in failure_at("encodings", HEAD + body, check, marked)


def test_scores_may_be_changed_in_place(here: Path) -> None:
    Path("mine.py").write_text(HEAD + "    def score(self, logits, qk):\n        return logits.mul_(2)\n")
    assert {text.partition(":")[0] for text in checked("encodings", str(here / "mine.py")).values()} <= {OK, NOT_APPLICABLE}


def test_a_branch_on_a_value_has_no_batched_form_and_is_no_failure(here: Path) -> None:
    Path("mine.py").write_text(
        HEAD + "    def score(self, logits, qk):\n        return logits if float(logits.sum()) > 0 else 2 * logits\n"
    )
    result = checked("encodings", str(here / "mine.py"))
    assert result["stacked"].startswith("does not apply: torch cannot batch it: mine.py:11: ")


TASK = '''"""Mine."""

import numpy as np

from rpecli.task import END, PAD, SPECIAL, Batch, Task, prompt_answer


class Mine(Task):
    family = "copying"
    examples = (([1, 2], "> 1 2 | [1] [2] ."),)
    defaults = {"length": 6}
    variants = {"symbols=3": {"length": 4}}

    def __init__(self, *, symbols: int = 8):
        self.symbols = symbols

    def draw(self, rng, batch, length):
        return rng.integers(self.symbols, size=(batch, length))

    def layout(self, x_BxN):
        return prompt_answer(x_BxN, x_BxN)

    def chance(self, length):
        return 1 / self.symbols
'''
LAYOUT = "return prompt_answer(x_BxN, x_BxN)"
BATCH = "batch = prompt_answer(x_BxN, x_BxN); tokens = batch.tokens_BxT.copy(); answer = batch.answer_mask_BxT.copy(); "
BROKEN_TASKS = {  # name: (the check, what is replaced, by what, the text of the line that is named, what is said)
    "no array": ("shapes", "return rng", "rng", "def draw", "returned None"),
    "no length": ("shapes", "    def chance", "    def has_length(self, length):\n        return False\n\n    def chance",
                  "def has_length", "there is no problem of a length near 6"),
    "a token too large": ("tokens", LAYOUT, "return prompt_answer(x_BxN, x_BxN + 5)", "def layout", "expected 0 to 11"),
    "padding inside": ("tokens", LAYOUT, BATCH + "tokens[:, 1] = PAD; return Batch(tokens, answer)", "def layout",
                       "expected padding (PAD, token 0) behind all other tokens"),
    "no begin": ("tokens", LAYOUT, BATCH + "return Batch(tokens[:, 1:], answer[:, 1:])", "def layout", "expected one BOS"),
    "an end for some": ("tokens", LAYOUT, BATCH + "tokens[0, -1] = 5; return Batch(tokens, answer)", "def layout",
                        "0 to 1 end tokens"),
    "no answer": ("answers", LAYOUT, BATCH + "answer[1] = False; return Batch(tokens, answer)", "def layout",
                  "marked no token of a sequence"),
    "the end as answer": ("answers", LAYOUT, BATCH + "answer[:, -1] = True; return Batch(tokens, answer)", "def layout",
                          "marked END as answer"),
    "another generator": ("seed", "rng.integers", "np.random.default_rng().integers", "def draw", "gave other inputs"),
    "its neighbours": ("seed", LAYOUT, "return prompt_answer(x_BxN, np.full_like(x_BxN, x_BxN.max()))", "def layout",
                       "of an input alone"),
    "its input": ("seed", LAYOUT, "x_BxN[:] = 0; return prompt_answer(x_BxN, x_BxN)", "def layout", "changed its input"),
    "some lengths": ("lengths", "return rng", "assert length != 7\n        return rng", "assert length", "at length 7"),
    "a wrong chance": ("chance", "return 1 / self.symbols", "return 0.5", "def chance",
                       "states 50.0 % at length 5, but the likeliest answer at each place is right for 12."),
    "a wrong example": ("examples", "[1] [2] .", "[2] [1] .", "examples =", "but the sequence of [1, 2] is '> 1 2 | [1] [2] .'"),
    "an unknown key": ("defaults", '{"length": 6}', '{"lenght": 6}', "defaults =", "lenght: unknown key: did you mean length"),
    "an unknown option": ("variants", "symbols=3", "symbol=3", "variants =", "has no option 'symbol'"),
    "no speed at all": ("speed", "return rng", "assert batch < 1000\n        return rng", "assert batch", "AssertionError"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN_TASKS)
def test_the_line_that_breaks_a_task_is_named(name: str, here: Path) -> None:
    check, old, new, marked, said = BROKEN_TASKS[name]
    text = TASK.replace(old, new)
    assert text != TASK
    assert said in failure_at("tasks", text, check, marked)


def test_the_unbroken_task_passes(here: Path) -> None:
    Path("mine.py").write_text(TASK)
    outcomes = {name: text.partition(":")[0] for name, text in checked("tasks", str(here / "mine.py")).items()}
    assert outcomes == {name: NOT_APPLICABLE if name == "split" else OK for name in task_checks.CHECKS}  # its problems are drawn
    assert tasks.measured_chance(tasks.build(str(here / "mine.py")), 5) == pytest.approx(1 / 8, abs=0.02)
    assert isinstance(tasks.build(str(here / "mine.py")).draw(np.random.default_rng(0), 2, 3), np.ndarray)


def test_a_failure_says_what_it_means_and_ends_the_command_with_1(rpe: tiny.Rpe, here: Path) -> None:
    Path("mine.py").write_text(HEAD + BROKEN_ENCODINGS["the next score"][1])
    result = rpe("check", "./mine.py")
    failed = [name for name, text in outcomes(result.out).items() if text.startswith("failed")]
    assert (result.code, result.err) == (1, f"{len(failed)} of 9 checks failed\n")
    assert {"causality", "decoding"} <= set(failed) < set(encoding_checks.CHECKS)
    assert outcomes(result.out)["causality"].endswith("mine.py:10: score: the output of token 1 depends on")
    assert "A model that sees the future" in " ".join(result.out.split())
    assert max(map(len, result.out.splitlines())) <= 80


def test_the_other_checks_wait_for_the_first(rpe: tiny.Rpe, here: Path) -> None:
    Path("mine.py").write_text(HEAD + BROKEN_ENCODINGS["shapes"][1])
    result = rpe("check", "./mine.py")
    assert (result.code, result.err) == (1, "the other 8 checks need this one to pass first\n")
    assert list(outcomes(result.out)) == ["shapes"]


def test_a_hook_that_ends_the_process_fails_its_check_and_the_others_go_on(here: Path) -> None:
    Path("mine.py").write_text(
        HEAD + "    def score(self, logits, qk):\n        if logits.shape[-1] == 256:\n"
        "            import os; os.kill(os.getpid(), 9)\n        return logits\n"
    )
    results = checked("encodings", str(here / "mine.py"))
    assert results["finite"] == "failed: mine.py: finite: ended the process (signal 9)"
    assert [name for name, text in results.items() if text.startswith(FAILED)] == ["finite"]


def test_several_encodings_are_refused(rpe: tiny.Rpe, here: Path) -> None:
    result = rpe("check", "rope+none")
    assert (result.code, result.err) == (2, "'rope+none': write one encoding: rpe check rope\n")


@pytest.mark.parametrize("fault", ["import nothere\n", "class A(Encoding)\n    pass\n"], ids=["import", "syntax"])
def test_a_file_that_does_not_load_fails_its_first_check(fault: str, rpe: tiny.Rpe, here: Path) -> None:
    (here / "mine.py").write_text(f"from rpecli.encoding import Encoding\n{fault}")
    result = rpe("check", "./mine.py")
    assert result.code == 1
    assert result.out.startswith("mine (encoding)\n  shapes     failed  mine.py:2: this file does not load: ")
    assert "the other 8 checks need this one to pass first" in result.err


OWN_TASK = """from rpecli.task import Task, prompt_answer


class Mine(Task):
    symbols = 8

    def draw(self, rng, batch, length):
        return rng.integers(self.symbols, size=(batch, length))

    def layout(self, x_BxN):
        return prompt_answer(x_BxN, x_BxN)
"""


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("layout(", "layuot(", "mine.py:4: layout: is missing: Mine derives from Task, which needs it"),
        ("draw(", "drew(", "mine.py:4: draw: is missing: Mine derives from Task, which needs it"),
        ("(x_BxN, x_BxN)", "(x_BxN, x_BxN + 0.5)", "mine.py:11: layout: ValueError: symbols are whole numbers, and "),
    ],
)
def test_a_missing_method_of_a_task_and_fractions_are_told_with_the_line(
    right: str, wrong: str, message: str, rpe: tiny.Rpe, here: Path
) -> None:
    Path("mine.py").write_text(OWN_TASK.replace(right, wrong))
    checked = rpe("check", "./mine.py")
    assert checked.code == 1
    assert message in " ".join(checked.out.split())
    trained = rpe("train", "--task", "./mine.py", *TINY)
    assert (trained.code, message in trained.err) == (2, True)


def test_rows_are_told_nothing_about_methods_and_which_lengths_are_missing(rpe: tiny.Rpe, here: Path) -> None:
    Path("mine.jsonl").write_text("{")
    checked = rpe("check", "data:path=mine.jsonl")
    assert "mine.jsonl:1: not JSON" in " ".join(checked.out.split())
    assert "rpecli/task.py" not in " ".join(checked.out.split())
    Path("mine.jsonl").write_text("".join(f'{{"input": "a", "target": "{"a" * n}"}}\n' for n in range(1, 25)))
    checked = rpe("check", "data:path=mine.jsonl")
    assert "24 of those up to 32; none of 25, 26, 27, 28, 29 and 3 more" in " ".join(checked.out.split())


@pytest.mark.parametrize(("number", "text"), [(2.34e6, "2.3 million"), (1e5, "0.1 million"), (4_560, "4.6 thousand")])
def test_a_low_speed_is_in_thousands(number: float, text: str) -> None:
    assert task_checks._rate(number) == text


def test_a_file_of_the_working_folder_is_suggested_first(rpe: tiny.Rpe, here: Path) -> None:
    for name in ("third.yaml", "my_bias.py", "my_task.py"):
        Path(name).write_text("")
    said = {
        ("run", "third"): "./third.yaml",
        ("report", "--recipe", "third"): "./third.yaml",
        ("check", "third"): "./third.yaml",
        ("reproduce", "third"): "./third.yaml",
        ("check", "my_bias"): "./my_bias.py",
        ("show", "my-bias"): "./my_bias.py",
        ("train", "--encoding", "my-bias"): "./my_bias.py",
        ("train", "--task", "my_task"): "./my_task.py",
    }
    for words, path in said.items():
        result = rpe(*words)
        assert (result.code, f"did you mean {path}?" in result.err) == (2, True), result


def test_a_recipe_of_one_run_or_without_keys_is_told_as_such(rpe: tiny.Rpe, here: Path) -> None:
    Path("one.yaml").write_text("task: copy")
    Path("empty.yaml").write_text("# nothing")
    assert rpe("check", "./one.yaml").out == "./one.yaml: 1 run, no errors\n"
    assert rpe("check", "./empty.yaml").out == "./empty.yaml: 4 runs, no errors (it has no keys: all are at their defaults)\n"


def test_what_is_to_be_written_is_told_the_nearest(rpe: tiny.Rpe, here: Path) -> None:
    result = rpe("new", "tsk", "x")
    assert (result.code, result.err) == (2, "unknown kind 'tsk': did you mean task?\n")
