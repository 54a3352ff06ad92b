"""The user's own code: named by any path, copied into the run, run only if they named it, tried before anything trains."""

import json
import re
import shutil
from pathlib import Path

import pytest
from helpers import training as tiny
from hypothesis import given
from hypothesis import strategies as st

from rpecli import catalog, trust
from rpecli.choice import canonical, names_in, paths_in, relative_to, split_list
from rpecli.config import load as config_load
from rpecli.evaluate import measure
from rpecli.run import code
from rpecli.run.directory import Run
from rpecli.trial import child

BIAS = '''"""Mine."""

import torch

from rpecli.encoding import DistanceBias, Shape


class Mine(DistanceBias):
    group = "APE"

    def __init__(self, shape: Shape, *, slope: float = 1.0):
        super().__init__(shape)
        self.slope = slope

    def by_distance(self, distance):
        return -self.slope * distance.abs() * torch.ones(self.shape.n_head).view(-1, *[1] * distance.dim())
'''
TASK = '''"""Mine."""

from rpecli.task import Task, prompt_answer


class Mine(Task):
    symbols = 8
    family = "copying"

    def draw(self, rng, batch, length):
        return rng.integers(self.symbols, size=(batch, length))

    def layout(self, x_BxN):
        return prompt_answer(x_BxN, x_BxN)
'''
FOLDERS = ["c++/p", "run:1", "a,b", "50%", "%2B", "x+rope:y,z", "a=b", "with space", "naïve", "p.py+none"]
TINY = ("--steps", 3, "--length", 4, "--d-model", 16, "--n-layer", 1, "--n-head", 2, "--jobs", 0, "--device", "cpu")


def own_files(folder: Path) -> tuple[Path, Path]:
    """An encoding and a task of the user's own."""
    folder.mkdir(parents=True, exist_ok=True)
    bias, task = folder / "mine.py", folder / "my_task.py"
    bias.write_text(BIAS)
    task.write_text(TASK)
    return bias, task


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("absolute", [True, False])
def test_no_folder_name_is_taken_for_grammar(name: str, absolute: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bias, _ = own_files(tmp_path / name)
    monkeypatch.chdir(bias.parent)
    path = str(bias) if absolute else "./mine.py"
    choice = canonical(f"{path}:slope=2+rope:then={path}")
    assert choice == canonical(choice)
    assert names_in(choice) == [str(bias), "rope", str(bias), str(bias)]
    assert paths_in(choice) == [bias]
    assert split_list(f"{path},rope:base=1e+4,none")[1:] == ["rope:base=1e+4", "none"]
    assert canonical(relative_to(choice, tmp_path), tmp_path) == choice


@given(st.lists(st.text(st.sampled_from("ab.+:,%=2B /~é"), min_size=1, max_size=8), min_size=1, max_size=3))
def test_a_path_survives_being_written_and_read_again(parts: list[str]) -> None:
    path = Path("/", *(part.strip(" /.~") or "x" for part in parts), "m+y.py")
    choice = canonical(str(path).translate({ord(c): f"%{ord(c):02X}" for c in "%+:,"}))
    assert paths_in(f"{choice}:a=1+none") == [path]
    assert canonical(choice) == choice


@pytest.mark.parametrize("name", ["c++/p", "run:1", "a,b", "x+rope:y,z"])
def test_a_project_may_stand_in_any_folder(name: str, rpe: tiny.Rpe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bias, task = own_files(tmp_path / name)
    monkeypatch.chdir(bias.parent)
    for way in ("./", f"{bias.parent}/"):
        train = rpe("train", "--task", f"{way}my_task.py", "--encoding", f"{way}mine.py:slope=2,rope", *TINY)
        assert train.code == 0, train.err
    result = rpe("eval", "--lengths", "1x", "--samples", 4, "--swap-encoding", f"{bias}:slope=3", "--jobs", 0)
    assert result.code == 0, result.err
    assert rpe("show", str(bias)).code == 0
    assert rpe("data", str(task), "--lengths", 4, "--out", "sets").code == 0
    assert rpe("report").code == 0
    assert len(list(Path("runs").iterdir())) == 2


def test_paths_in_a_recipe_are_relative_to_the_recipe(rpe: tiny.Rpe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_files(tmp_path / "study")
    recipe = tmp_path / "study" / "r.yaml"
    recipe.write_text("task: ./my_task.py\nencoding: [rope, './mine.py:slope=3']\nby_task: {./my_task.py: {steps: 7}}\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert rpe("check", "../study/r.yaml").code == 0
    configs = config_load.load("../study/r.yaml")[0].configs()
    assert [(paths_in(config.task), config.steps) for config in configs] == [([tmp_path / "study" / "my_task.py"], 7)] * 2
    (tmp_path / "study" / "mine.py").rename("mine.py")
    result = rpe("check", "../study/r.yaml")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert f"{tmp_path}/study/mine.py" in result.err


def test_what_trained_a_run_measures_it(tmp_path: Path) -> None:
    bias, task = own_files(tmp_path / "p")
    run = tiny.trained_run(tmp_path / "runs", encoding=f"{bias}:slope=2", task=str(task), steps=3)
    assert "encoding: ./code/encodings/mine.py:slope=2" in run.recipe_file.read_text()
    assert "task: ./code/tasks/my_task.py" in run.recipe_file.read_text()
    measure.evaluate(run, device="cpu")
    before = run.evaluations()
    bias.write_text(BIAS.replace("-self.slope", "+self.slope"))
    task.unlink()
    moved = tmp_path / "elsewhere" / run.name
    shutil.copytree(run.path, moved)
    copy = Run(moved)
    assert (copy.config.id, copy.record["id"]) == (run.name, run.name)
    copy.evaluations_file.unlink()
    measure.evaluate(copy, device="cpu")
    again = copy.evaluations()
    assert [line["nll"] for line in again] == [line["nll"] for line in before]


def test_an_edited_file_is_another_run(rpe: tiny.Rpe, here: Path) -> None:
    bias, _ = own_files(here)
    for text in (BIAS, BIAS.replace("-self.slope", "+self.slope"), BIAS):
        bias.write_text(text)
        assert rpe("train", "--task", "copy", "--encoding", "./mine.py", *TINY).code == 0
    assert len(list(Path("runs").iterdir())) == 2


def test_a_file_named_like_an_encoding_that_ships_is_not_that_encoding(rpe: tiny.Rpe, here: Path) -> None:
    Path("rope.py").write_text(BIAS)
    assert rpe("train", "--task", "copy", "--encoding", "rope,./rope.py", *TINY).code == 0
    assert sorted(record["encoding"] for record in json.loads(rpe("ls", "runs", "--json").out)) == ["own-rope", "rope"]
    assert rpe("eval", "--lengths", "1x", "--samples", 4, "--jobs", 0).code == 0
    result = rpe("report")
    assert (result.code, result.err) == (0, "")
    assert {line.split()[0] for line in result.out.splitlines() if " RPE " in line or " APE " in line} == {"RoPE", "own-rope"}


def test_two_files_of_one_name_are_two_encodings(tmp_path: Path) -> None:
    (one, _), (two, _) = own_files(tmp_path / "a"), own_files(tmp_path / "b")
    two.write_text(BIAS.replace("abs", "sqrt"))
    run = tiny.new_run(tmp_path / "runs", encoding=f"{one}+{two}")
    assert run.record["encoding"] == "mine+mine-2"
    assert run.config.id == run.name
    assert [path.read_text() for path in paths_in(run.config.encoding)] == [BIAS, two.read_text()]
    assert [path.name for path in paths_in(run.config.encoding)] == ["mine.py", "mine-2.py"]


def test_a_file_put_into_a_trained_model_is_kept_with_the_run(rpe: tiny.Rpe, here: Path) -> None:
    bias, _ = own_files(here)
    assert rpe("train", "--task", "copy", "--encoding", "none", *TINY).code == 0
    swap = ("eval", "--lengths", "1x", "--samples", 4, "--swap-encoding", "./mine.py", "--jobs", 0)
    for text in (BIAS, BIAS.replace("-self.slope", "+self.slope"), BIAS):
        bias.write_text(text)
        assert rpe(*swap).code == 0
    (run,) = (Run(path) for path in Path("runs").iterdir())
    overrides = [line["encoding_override"] for line in run.evaluations() if line["length"] == 4]
    assert overrides == ["./code/encodings/mine.py", "./code/encodings/mine-2.py"]
    bias.unlink()
    result = rpe("report", "--tables")
    assert result.code == 0, result.err
    assert "mine-2" in result.out


BODY = "return -self.slope * distance.abs() * torch.ones(self.shape.n_head).view(-1, *[1] * distance.dim())"
BROKEN_HOOKS = {
    "return None": "by_distance: returned None",
    "return 1.0": "by_distance: returned float 1.0",
    "return torch.zeros(3, 3)": "by_distance: returned shape [3, 3], expected [H, *distance.shape] = [",
    "return torch.zeros(self.shape.n_head, *distance.shape).long()": "by_distance: returned int64, expected float32",
    "return torch.full((self.shape.n_head, *distance.shape), float('nan'))": "by_distance: returned NaN",
    "return torch.full((self.shape.n_head, *distance.shape), float('inf'))": "a training step: gives NaN or infinite numbers",
    "raise KeyError('k')": "by_distance: KeyError: 'k'",
    "assert False": "by_distance: AssertionError",
    "print('HELLO'); import sys; sys.exit(0)": "by_distance: the file ends the process",
    "import os; os._exit(0)": "by_distance: the file ends the process",
    "import os; os.kill(os.getpid(), 9)": "by_distance: ended the process (signal 9)",
    "import ctypes; ctypes.string_at(0)": "by_distance: ended the process (signal 11)",
    "while True: pass": "by_distance: is not done after 2 s of computing: an endless loop?",
    "return torch.zeros(self.shape.n_head, *distance.shape)[:, :-1]": "by_distance: returned shape [",
}
BROKEN_FILES = {  # what is replaced -> by what, and what is said
    ("def by_distance", "def by_dist"): "by_distance: is missing",
    ("by_distance(self, distance)", "by_distance(self)"): "by_distance does not take what the engine gives it",
    ('group = "APE"', "group = 5"): "group: is 5",
    ('group = "APE"', 'group = "weird"'): "group: is 'weird'",
    ("shape: Shape, *", "*"): "Mine.__init__: too many positional arguments",
    ("slope: float = 1.0", "slope"): "Mine.__init__: missing a required argument: 'slope'",
    ("super().__init__(shape)", "pass"): "must begin with super().__init__(shape)",
    ("super().__init__(shape)", "raise RuntimeError('no')"): "Mine.__init__: RuntimeError: no",
    ("super().__init__(shape)", "raise ValueError('write slope=2')"): "write slope=2",
    ("super().__init__(shape)", "raise ValueError"): "Mine.__init__: ValueError",
    ("super().__init__(shape)", "raise ValueError('a\\nb')"): "a b",
    ("class Mine", "class _Mine"): "exactly one subclass",
    ("import torch", "import torch, nosuchmodule"): "ModuleNotFoundError",
    ("class Mine", "clas Mine"): "invalid syntax",
    ("import torch", "import os; os._exit(0)"): "the file ends the process",
}
BROKEN_TASKS = {
    ("symbols = 8", "pass"): "symbols=None",
    ("symbols = 8", 'symbols = "8"'): "symbols='8'",
    ("symbols = 8", "symbols = 8\n    longest = lambda self: '8'"): "longest: returned str '8'",
    ("symbols = 8", "symbols = 8\n    longest = lambda self: 0"): "longest: returned int 0, expected a whole number from 1 on",
    ("symbols = 8", "symbols = 8\n    chance = lambda self, length: 2"): "chance: returned int 2",
    ("rng.integers(self.symbols, size", "rng.random(size"): "draw: returned an array of float64, expected whole numbers",
    ("symbols = 8", "symbols = 8\n    chance = lambda self, length: 1 / 0"): "chance: ZeroDivisionError",
    ("symbols = 8", "symbols = 8\n    examples = (([1], 'x'),)"): "examples: ",
    ("return rng", "rng"): "draw: returned None",
    ("return prompt", "prompt"): "layout: returned None",
    ("rng.integers(self.symbols", "rng.integers(99"): "layout: gave tokens from",
    ("return prompt_answer(x_BxN, x_BxN)", "return prompt_answer(x_BxN * 0 - 4, x_BxN)"): "padding (PAD, token 0) behind all",
    (
        "return prompt_answer(x_BxN, x_BxN)",
        "return prompt_answer(x_BxN, x_BxN * 0 - 4)",
    ): ", expected padding (PAD, token 0) behind",
    (
        "return rng.integers",
        "import numpy; return numpy.random.default_rng().integers",
    ): "draw: gave other inputs for the same rng",
}
CASES = [(BIAS.replace(BODY, body), "--encoding", said) for body, said in BROKEN_HOOKS.items()]
CASES += [(BIAS.replace(*change), "--encoding", said) for change, said in BROKEN_FILES.items()]
CASES += [(TASK.replace(*change), "--task", said) for change, said in BROKEN_TASKS.items()]


@pytest.mark.parametrize(("text", "flag", "said"), CASES, ids=[said for *_, said in CASES])
def test_broken_code_is_told_with_its_line_before_anything_starts(
    text: str, flag: str, said: str, rpe: tiny.Rpe, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "SECONDS", 2.0)
    monkeypatch.setattr(child, "PATIENCE", 100)  # of a busy machine
    Path("broken.py").write_text(text)
    Path("r.yaml").write_text(f"{flag[2:]}: ./broken.py\n")
    for command in (("check", "r.yaml"), ("train", flag, "./broken.py", *TINY)):
        result = rpe(*command)
        assert (result.code, result.out) == (2, ""), result.err
        assert result.err.count("\n") <= 3
        assert "broken.py" in result.err
        assert said in result.err
        assert "Traceback" not in result.err
        assert "HELLO" not in result.err
    assert not Path("runs").exists()


def test_a_task_that_is_wrong_at_other_lengths_is_told(rpe: tiny.Rpe, here: Path) -> None:
    beyond = "return prompt_answer(x_BxN, x_BxN * 0 + (8 if x_BxN.shape[1] == 24 else 0))"
    Path("mine.py").write_text(TASK.replace("return prompt_answer(x_BxN, x_BxN)", beyond))
    result = rpe("check", "./mine.py")
    assert result.code == 1
    told = " ".join(result.out.split())
    assert "layout at length 24: gave tokens from 1 to 12" in told
    late = "has_length = lambda self, length: length > 9\n\n    def layout(self, x_BxN):\n        return x_BxN[:, 99]"
    Path("late.py").write_text(TASK.replace("def layout(self, x_BxN):\n        return prompt_answer(x_BxN, x_BxN)", late))
    shown = rpe("show", "./late.py")
    assert (shown.code, "late.py:" in shown.err, "Traceback" in shown.err) == (2, True, False), shown


def test_a_task_that_fails_at_a_length_of_the_evaluation_alone_is_told_with_it(rpe: tiny.Rpe, here: Path) -> None:
    """And that the run keeps its file: a change of it takes a new run."""
    Path("mine.py").write_text(TASK.replace("return rng", "assert length < 40\n        return rng"))
    assert rpe("train", "--task", "./mine.py", *TINY).code == 0
    result = rpe("eval", "--lengths", "4,64", "--samples", 4, "--jobs", 0, "--device", "cpu")
    assert result.code == 1
    assert re.search(r"mine\.py:\d+: AssertionError, at length 64  \(", result.err)
    assert "a run keeps the file that trained it" in result.err


def test_a_hook_that_waits_for_ever_is_told_as_that(rpe: tiny.Rpe, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "SECONDS", 0.5)
    Path("waits.py").write_text(TASK.replace("return rng", "import time; time.sleep(1000); return rng"))
    result = rpe("train", "--task", "./waits.py", *TINY)
    assert (result.code, re.sub(r"after \d s, of which it computed \d:", "after N s:", result.err)) == (
        2,
        "--task: waits.py:11: draw: is not done after N s: does it wait for something, or is the machine busy?\n",
    )


def test_a_hook_that_waits_for_a_busy_machine_is_not_stopped(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is of computing: a process that gets no turn has not computed."""
    monkeypatch.setattr(child, "SECONDS", 0.5)
    Path("slow.py").write_text(TASK.replace("return rng", "import time; time.sleep(0.7); return rng"))
    (problem,) = child.problems([child.Trial("tasks", str(here / "slow.py"), lengths=(4,))])
    assert problem is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("has_length = lambda self, length: False", "has no problem of length 4: no length near it has one either"),
        ("defaults = {'step': 3}", "step: unknown key: did you mean steps"),
        ("defaults = {'steps': 'x'}", "steps: 'x': input should be a valid integer"),
    ],
)
def test_a_task_that_sets_what_no_run_can_have_is_told(line: str, said: str, rpe: tiny.Rpe, here: Path) -> None:
    Path("odd.py").write_text(TASK.replace("symbols = 8", f"symbols = 8\n    {line}"))
    result = rpe("train", "--task", "./odd.py", *TINY)
    assert (result.code, result.err.count("\n")) == (2, 1), result.err
    assert said in result.err


def test_a_task_without_short_problems_has_no_card(rpe: tiny.Rpe, here: Path) -> None:
    Path("odd.py").write_text(TASK.replace("symbols = 8", "symbols = 8\n    has_length = lambda self, length: length == 500"))
    result = rpe("show", "./odd.py")
    assert (result.code, result.err.count("\n")) == (2, 1), result.err
    assert "has no problem of length 8 or near it: write another --length" in result.err


@pytest.mark.parametrize("hidden", ["distance >= 0", "distance > 3"])
def test_a_bias_of_minus_infinity_is_drawn(hidden: str, rpe: tiny.Rpe, here: Path) -> None:
    body = f"return torch.where({hidden}, float('-inf'), 0.0).expand(self.shape.n_head, *distance.shape)"
    Path("mine.py").write_text(BIAS.replace(BODY, body))
    assert rpe("show", "./mine.py").code == 0
    assert json.loads(rpe("show", "./mine.py", "--json").out)["shift"]["change"] == 0


def test_what_a_file_prints_goes_to_stderr(rpe: tiny.Rpe, here: Path) -> None:
    Path("mine.py").write_text("print('LOADED')\n" + BIAS.replace(BODY, f"print('HOOK'); {BODY}"))
    result = rpe("show", "./mine.py", "--json")
    assert result.code == 0
    assert json.loads(result.out)["group"] == "APE"
    assert "HOOK" in result.err


@pytest.mark.parametrize(
    "choice", ["fire:c=nan", "rope:base=inf", "rope:base=1e400", "learned:std=-1", "t5:buckets=" + "9" * 20, "rope:base=-5"]
)
def test_an_option_is_finite_and_in_range(choice: str, rpe: tiny.Rpe, here: Path) -> None:
    result = rpe("train", "--encoding", choice, *TINY)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert choice.partition(":")[0] in result.err
    assert not Path("runs").exists()


def test_code_that_came_with_a_run_runs_only_if_its_text_was_named_before(
    rpe: tiny.Rpe, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(trust.VARIABLE, "")
    Path("mine.py").write_text(BIAS + "\nimport pathlib\npathlib.Path('executed').touch()\n")
    assert rpe("train", "--task", "copy", "--encoding", "./mine.py", *TINY).code == 0
    eval_ = ("eval", "--lengths", "1x", "--samples", 4, "--jobs", 0)
    monkeypatch.setenv(trust.VARIABLE, "")
    assert rpe(*eval_).code == 0  # named before
    Path("executed").unlink()
    monkeypatch.setenv("XDG_STATE_HOME", str(here / "another-user"))
    monkeypatch.setenv(trust.VARIABLE, "")
    (recipe,) = Path("runs").glob("*/recipe.yaml")
    for command in ((*eval_, "--overwrite"), ("check", recipe), ("inspect",)):
        result = rpe(*command)
        assert result.code != 0
        assert "read it, then add --trust-code" in result.err
    assert rpe("inspect").err.count(recipe.parent.name) == 2, "in the path, and at the end"
    for command in (("report",), ("ls", "runs"), ("show", recipe.parent.name)):
        assert rpe(*command).code == 0
    assert not Path("executed").exists()
    assert rpe(*eval_, "--overwrite", "--trust-code").code == 0


def test_a_copy_is_called_by_the_file_that_it_was_made_of(here: Path) -> None:
    bias, _ = own_files(here / "study")
    (here / "other").mkdir()
    moved = here / "other" / "mine.py"
    run = tiny.new_run(here / "runs", encoding=canonical(str(bias)))
    (copy,) = paths_in(run.config.encoding)
    assert copy != bias
    trust.allow([canonical(str(bias))])
    assert catalog.shown(copy) == "study/mine.py"
    bias.rename(moved)
    assert catalog.shown(copy) == f"runs/{run.name}/code/encodings/mine.py"  # nobody named it there
    trust.allow([canonical(str(moved))])
    assert catalog.shown(copy) == "other/mine.py"
    moved.write_text(BIAS.replace("-self", "+self"))
    assert catalog.shown(copy) == f"runs/{run.name}/code/encodings/mine.py"  # of another text


def test_a_recipe_nested_too_deep_is_one_line(rpe: tiny.Rpe, here: Path) -> None:
    Path("deep.yaml").write_text("task: " + "[" * 3000 + "]" * 3000)
    result = rpe("check", "deep.yaml")
    assert (result.code, result.err.count("\n")) == (2, 1)


def test_names_without_ascii_letters_have_ids_of_their_own(tmp_path: Path) -> None:
    ids = set()
    for name in ("кодировка", "😀", "日本"):
        (tmp_path / f"{name}.py").write_text(BIAS)
        ids.add(tiny.config(encoding=str(tmp_path / f"{name}.py")).id)
    assert len(ids) == 3


@pytest.mark.parametrize(
    ("task", "modules"),
    [
        ("copy", set()),
        ("dyck", {"language.py"}),
        ("binary-addition", {"bits.py"}),
        ("solve-equation", {"brackets.py"}),
        ("addition", {"digits.py", "ragged.py"}),
    ],
)
def test_a_change_of_what_a_task_imports_is_a_change_of_its_code(task: str, modules: set[str]) -> None:
    files = set(code.shipped_code(tiny.config(task=task)))
    assert files & {"language.py", "bits.py", "brackets.py", "digits.py", "ragged.py", "rows/examples.py"} == modules
    assert "rows/examples.py" in code.shipped_code(tiny.config(task="data"))


def test_shipped_code_is_told_apart_by_what_it_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one, two, three = (tmp_path / f"{n}.py" for n in range(3))
    one.write_text('"""A."""\n\n\ndef f(x):\n    return x  # a comment\n')
    two.write_text('"""B."""\ndef f(x):\n    """C."""\n    return (x)\n')
    three.write_text("def f(x):\n    return x + 1\n")
    prints = [code._tree_fingerprint(path) for path in (one, two, three)]
    assert prints[0] == prints[1] != prints[2]
    files = code.shipped_code(tiny.config(encoding="dape:over=t5", task="parity"))
    assert {"model.py", "data.py", "tasks/parity.py", "encodings/dape.py", "encodings/t5.py"} <= files.keys()
    assert "encodings/rope.py" not in files
    assert code.changed_files({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"}) == ["b", "c"]
