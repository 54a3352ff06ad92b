"""The user's own code: named by any path, copied into the run, run only if they named it, tried before anything trains."""

import shutil
from pathlib import Path

import pytest
from helpers import training as tiny
from hypothesis import given
from hypothesis import strategies as st

from rpecli.choice import canonical, names_in, paths_in, relative_to, split_list
from rpecli.config import load as config_load
from rpecli.evaluate import measure
from rpecli.run.directory import Run

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
