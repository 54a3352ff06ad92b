"""What is wrong with many runs is told in a few lines, and `rpe ls runs --problems` shows all of it."""

import json
from pathlib import Path

import pytest
from helpers import run_folders
from typer.testing import CliRunner, Result

from rpecli import catalog
from rpecli.cli.app import app
from rpecli.run.directory import Run
from rpecli.run.problems import MAX_LINES, folded, problems_of


def rpe(*words: object) -> Result:
    return CliRunner().invoke(app, list(map(str, words)))


def make_runs(folder: Path, number: int) -> list[Path]:
    paths = [run_folders.make_run(folder, {16: 1.0, 32: 0.5}, seed=seed) for seed in range(number)]
    for path in paths:
        run_folders.append_line(path / "metrics.jsonl", run_folders.validation(100, 0.5))
        (path / "weights.safetensors").write_bytes(b"weights")
    return paths


def test_messages_that_differ_in_the_name_of_the_run_are_told_once() -> None:
    paths = [Path(f"runs/copy-rope-s{seed}") for seed in range(300)]
    alike = [(path, f"{path}/run.json: damaged: no checksum") for path in paths]
    assert folded(alike) == ["runs/copy-rope-s0/run.json: damaged: no checksum", "and the same for 299 other runs"]
    assert folded(alike[:4]) == [message for _, message in alike[:4]]


def test_messages_that_all_differ_are_cut_with_the_command_that_shows_all() -> None:
    messages = [(Path(f"runs/r{n}"), f"runs/r{n}/eval.jsonl:{n}: length: missing") for n in range(100)]
    *lines, last = folded(messages, "rpe ls runs --problems --runs there")
    assert lines == [message for _, message in messages[:MAX_LINES]]
    assert last == "and 88 lines more about other runs: rpe ls runs --problems --runs there shows all"
    assert folded(messages, None)[-1] == "and 88 lines more about other runs"
    assert len(folded(messages[: MAX_LINES + 1])) == MAX_LINES + 1, "a line that says 'one line more' would save nothing"


@pytest.mark.parametrize("command", [["ls", "runs"], ["report"], ["show", "*"], ["eval"], ["inspect"]])
def test_no_command_prints_a_line_for_each_of_many_damaged_runs(command: list[str], tmp_path: Path) -> None:
    paths = make_runs(tmp_path / "runs", 9)
    for path in paths[1:]:
        (path / "run.json").write_text("{}")
    out = ["--out", tmp_path / "out"] if command[0] == "report" else []
    result = rpe(*command, "--runs", tmp_path / "runs", *out)
    assert result.stderr.count("run.json: ") == 1
    assert "and the same for 7 other runs" in result.stderr


def test_damaged_side_files_of_many_runs_are_told_once_in_a_list_and_in_a_report(tmp_path: Path) -> None:
    for path in make_runs(tmp_path / "runs", 8)[1:]:
        run_folders.append_line(path / "metrics.jsonl", run_folders.validation(50, 0.5))
        with (path / "eval.jsonl").open("a") as file:
            file.write("garbage\n")
    listed = rpe("ls", "runs", "--runs", tmp_path / "runs")
    assert listed.stderr.count("metrics.jsonl: the last validation is damaged or gone") == 1
    reported = rpe("report", "--runs", tmp_path / "runs", "--out", tmp_path / "out")
    assert reported.stderr.count("eval.jsonl:3: damaged: no checksum") == 1
    for result in (listed, reported):
        assert "and the same for " in result.stderr, result.stderr
        assert len(result.stderr.splitlines()) < 7


def test_failed_runs_are_told_once_in_a_report(tmp_path: Path) -> None:
    make_runs(tmp_path / "runs", 3)
    for seed in range(10, 18):
        run_folders.make_run(tmp_path / "runs", {}, seed=seed, info={"status": "failed", "error": "it diverged"})
    result = rpe("report", "--runs", tmp_path / "runs", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert result.stderr.count("failed (it diverged)") == 1
    assert "and the same for 7 other runs" in result.stderr


def test_every_problem_of_every_run_is_listed_on_request(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    first, second, third, fourth = make_runs(runs, 4)
    (first / "run.json").write_text("{}")
    (second / "recipe.yaml").write_text("task: copy\n")
    for path in (third, third, second):
        with (path / "eval.jsonl").open("a") as file:
            file.write("garbage\n")
    assert problems_of(Run(fourth)) == []
    assert [len(problems_of(Run(path))) for path in (first, second, third)] == [1, 2, 1]
    listed = rpe("ls", "runs", "--problems", "--runs", runs)
    assert listed.exit_code == 0
    assert [line.partition(": ")[0] for line in listed.stdout.splitlines()] == [
        f"{first}/run.json",
        f"{second}/recipe.yaml has changed since rpe wrote it",
        f"{second}/eval.jsonl:3",
        f"{third}/eval.jsonl:3",
    ]
    as_json = json.loads(rpe("ls", "runs", "--problems", "--json", "--runs", runs).stdout)
    assert list(as_json) == [first.name, second.name, third.name]
    assert rpe("ls", "runs", "--problems", "--runs", fourth.parent.parent / "none").stdout.startswith("no problem")


def test_a_lost_validation_weights_and_a_checkpoint_are_problems_too(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    no_metrics, cut, gone, stopped = make_runs(runs, 4)
    Run(cut).update(weights=catalog.fingerprint(cut / "weights.safetensors"))
    Run(stopped).update(status="stopped")
    assert problems_of(Run(cut)) == problems_of(Run(stopped)) == []
    (no_metrics / "metrics.jsonl").write_text("")
    (cut / "weights.safetensors").write_bytes(b"weigh")
    recorded, now = Run(cut).record["weights"], catalog.fingerprint(cut / "weights.safetensors")
    for path in (gone, stopped):
        (path / "weights.safetensors").unlink()
    (stopped / "checkpoint.safetensors").write_bytes(b"")
    lines = rpe("ls", "runs", "--problems", "--runs", runs).stdout.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        f"{no_metrics}/metrics.jsonl",
        f"{cut}/weights.safetensors is not the file that training wrote ({recorded}, now {now})",
        f"{gone}/weights.safetensors is missing",
        f"{stopped}/checkpoint.safetensors has no checksum, so it is damaged or not written by this version of rpe",
    ]
    assert all(line.startswith(f"{no_metrics}/") for line in rpe("ls", "runs", "--runs", runs).stderr.splitlines())


@pytest.mark.parametrize("words", [["tasks", "--problems"], ["runs", "--problems", "--task", "copy"]])
def test_the_flag_is_refused_where_it_does_not_apply(words: list[str]) -> None:
    assert rpe("ls", *words).exit_code == 2
