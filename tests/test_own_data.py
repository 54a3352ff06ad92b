"""A user's own data as a task: what is trained on and what is held out, any of several answers, errors, and a changed file."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from rpecli import catalog, data
from rpecli import task as tasks
from rpecli.choice import ChoiceError, canonical, data_in
from rpecli.cli.app import app
from rpecli.config.recipe import Config, label, task_defaults
from rpecli.device import pick_device
from rpecli.evaluate import measure
from rpecli.evaluate.measure import SequenceScores
from rpecli.model import build
from rpecli.rows import examples
from rpecli.rows.examples import Source
from rpecli.rows.row import DataError
from rpecli.task import SPECIAL, Task
from rpecli.titles import display

TINY = ["--steps", "3", "--d-model", "16", "--n-layer", "1", "--n-head", "2", "--encoding", "rope", "-j", "0"]


def write(folder: Path, rows: list[dict[str, object]], name: str = "mine.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def sorting(number: int, longest: int = 6) -> list[dict[str, object]]:
    rng = np.random.default_rng(0)
    words = [[str(n) for n in rng.integers(9, size=1 + i % longest)] for i in range(number)]
    return [{"input": " ".join(word), "target": " ".join(sorted(word))} for word in words]


def built(path: Path, **options: str) -> Task:
    return tasks.build(canonical(":".join([f"data:path={path}", *(f'{key}="{value}"' for key, value in options.items())])))


def strings(task: Task, length: int) -> set[str]:
    batch = task.sample(np.random.default_rng(0), 200, length)
    return {task.text(batch, row) for row in range(200)}


def held_out(task: Task, length: int, trained_to: int) -> list[str]:
    blocks = list(data.evaluation_blocks(task, length, 1000, 0, trained_to))
    return [task.text(block, row) for block in blocks for row in range(len(block.tokens_BxT))]


def test_what_is_trained_on_is_not_tested_on_and_longer_rows_are_all_tested(tmp_path: Path) -> None:
    task = built(write(tmp_path, [{"input": f"{i:03d}", "target": "x" * (1 + i % 2)} for i in range(100)]))
    train, validation = strings(task.split("train", 1), 1), strings(task.split("validation", 1), 1)
    test = held_out(task, 1, trained_to=1)
    assert (len(train), len(validation), len(test)) == (30, 10, 10)
    assert len({*train, *validation, *test}) == 50
    assert len(set(held_out(task, 2, trained_to=1))) == 50
    assert len(set(held_out(task, 2, trained_to=2))) == 10


def test_files_a_column_or_a_second_path_name_the_splits(tmp_path: Path) -> None:
    rows = [{"input": f"{i}", "target": "x", "part": "test" if i > 7 else "train"} for i in range(10)]
    task = built(write(tmp_path, rows), split="part")
    assert held_out(task, 1, 1) == ["> 8 | [x] .", "> 9 | [x] ."]
    folder = tmp_path / "files"
    folder.mkdir()
    write(folder, rows[:5], "train.jsonl")
    write(folder, rows[5:7], "test.jsonl")
    assert held_out(built(folder), 1, 1) == ["> 5 | [x] .", "> 6 | [x] ."]
    second = write(tmp_path, rows[:2], "other.jsonl")
    task = built(write(tmp_path, rows), test_path=str(second))
    assert held_out(task, 1, 1) == ["> 0 | [x] .", "> 1 | [x] ."]
    assert "100 % of the test examples also stand in the training set" in task.notes


def test_copies_of_a_row_are_trained_on_or_held_out_and_never_both(tmp_path: Path) -> None:
    rows = [{"input": f"{i} {i % 7}", "target": "x" if i % 2 else "y"} for i in range(40)]
    task = built(write(tmp_path, rows * 5), tokens="space")
    parts = [strings(task.split(name, 1), 1) for name in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [24, 8, 8]
    assert len(set.union(*parts)) == 40
    assert "160 examples of 200 repeat others: copies are trained on or held out together" in task.notes
    named = [row | {"part": "test" if i > 29 else "train"} for i, row in enumerate(rows)]
    task = built(write(tmp_path, named * 5), tokens="space", split="part")
    train, validation = (strings(task.split(name, 1), 1) for name in ("train", "validation"))
    assert (len(validation) > 0, train & validation) == (True, set())


@pytest.mark.parametrize("held_out", ["test", "validation"])
def test_held_out_rows_that_are_trained_on_are_counted(held_out: str, tmp_path: Path) -> None:
    rows = [{"input": str(i % 6), "target": "x", "part": held_out if i > 7 else ""} for i in range(10)]
    task = built(write(tmp_path, rows), split="part")
    assert "100 % of the test examples also stand in the training set" in task.notes


@pytest.mark.parametrize(("rule", "lengths"), [("target", {3}), ("input", {6}), ("digits", {2}), ("n", {4}), ("cat", {5})])
def test_the_length_of_a_problem_is_what_the_user_says(rule: str, lengths: set[int], tmp_path: Path) -> None:
    path = write(tmp_path, [{"input": "27+5=?", "target": "032", "n": 4, "cat": [5, 2]}])
    assert {n for n in range(1, 9) if built(path, length=rule).has_length(n)} == lengths


def test_tokens_are_characters_words_or_bytes(tmp_path: Path) -> None:
    path = write(tmp_path, [{"input": "jump twice", "target": "J J"}, {"input": "é", "target": "é"}])
    assert strings(built(path), 2) == {"> jump twice | [J] [J] ."}
    numbers = write(tmp_path, [{"input": "27 + 5", "target": "32"}], "numbers.jsonl")
    assert strings(built(numbers), 2) == {r"> 2 7 \s + \s 5 | [3] [2] ."}
    story = write(tmp_path, [{"input": "Where is Ann ?", "target": "hall"}], "story.jsonl")
    assert strings(built(story), 1) == {"> Where is Ann ? | [hall] ."}
    assert strings(built(path, tokens="char"), 1) == {"> é | [é] ."}
    symbols = write(tmp_path, [{"input": "1 0 1", "target": "0"}], "symbols.jsonl")
    assert strings(built(symbols), 1) == {"> 1 0 1 | [0] ."}
    assert strings(built(path, tokens="byte"), 2) == {"> c3 a9 | [c3] [a9] ."}


def test_chance_of_few_rows_knows_none_of_those_it_is_scored_on(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [{"input": str(i), "target": "".join(rng.choice(list("abcd"), 20))} for i in range(40)]
    task = built(write(tmp_path, rows))
    assert task.chance(20) == pytest.approx(4 / 16, abs=0.04)  # the likeliest of four letters, in answers alone
    assert tasks.measured_chance(task, 20) > 0.33, "rows that are drawn again and again look as if they were predictable"
    one = built(write(tmp_path, rows[:1], "one.jsonl"))
    assert one.chance(20) == 1 / one.symbols


def test_the_split_is_told_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, [{"input": f"{i:02}", "target": "x" * (1 + i % 4)} for i in range(100)])
    result = CliRunner().invoke(app, ["train", "--task", "data:path=mine.jsonl", "--length", "2", *TINY])
    assert result.exit_code == 0, result.output
    assert "Data (mine.jsonl): trains on 30 examples up to length 2; tests on 10 held out and 50 longer ones\n" in result.stderr


def test_own_rows_do_not_have_the_training_length_of_the_sample() -> None:
    assert task_defaults("data")["length"] == 2
    assert "length" not in task_defaults("data:path=mine.jsonl")
    assert task_defaults("data:path=mine.jsonl")["steps"] == task_defaults("data")["steps"]


@pytest.mark.parametrize("name", ["mine.jsonl", "./mine.csv", "folder"])
def test_a_file_in_place_of_a_task_is_told_how_to_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ChoiceError, match=f"for rows of yours write data:path={name}, for running text text:path={name}"):
        catalog.find("tasks", name)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("target=anwser", "mine.jsonl:1: no column 'anwser'; it has question, answer"),
        ("input={qestion}!", "mine.jsonl:1: no column 'qestion'; it has question, answer"),
    ],
)
def test_a_mistyped_column_is_told_with_those_that_there_are(option: str, said: str, tmp_path: Path) -> None:
    path = write(tmp_path, [{"question": "1", "answer": "2"}])
    with pytest.raises(ChoiceError) as error:
        tasks.build(canonical(f"data:path={path}:{option}"))
    assert said in str(error.value)


def test_any_of_several_answers_counts(tmp_path: Path) -> None:
    path = write(tmp_path, [{"input": f"find{n}", "outputs": ["7", "9"] if n < 5 else ["9", "8"]} for n in range(10)])
    task = built(path)
    (block,) = data.evaluation_blocks(task, 1, 100, 0)
    assert [task.text(block, row)[14:] for row in range(4)] == ["[7] .", "[9] .", "[9] .", "[8] ."]
    assert block.group_B is not None
    assert block.group_B.tolist() == [0, 0, 1, 1]
    config = Config.from_keys(task=canonical(f"data:path={path}"), encoding="none", length=1, d_model=16, n_head=2, n_layer=1)
    scores = measure.measure(build(config, pick_device("cpu")), 1, [block], [])
    assert scores["n"] == 2


def test_untrained_positions_are_a_share_of_all_sequences_not_of_problems(tmp_path: Path) -> None:
    path = write(tmp_path, [{"input": f"find{n}", "outputs": ["7", "9", "8"]} for n in range(5)])
    config = Config.from_keys(task=canonical(f"data:path={path}"), encoding="learned", length=1, d_model=16, n_head=2, n_layer=1)
    loaded = build(config, pick_device("cpu"))
    loaded.model.eval()
    scores = measure.measure(loaded, 1, list(data.evaluation_blocks(loaded.task, 1, 100, 0)), [])
    assert (scores["n"], scores["untrained_positions"]) == (1, 1.0)


def test_of_a_group_the_right_sequence_counts_else_the_best() -> None:
    exact, right = np.array([False, True, False, False]), np.array([1, 2, 1, 0])
    tens = np.zeros((4, 10), dtype=int)
    scores = SequenceScores(exact, exact, right, np.full(4, 2), np.arange(4.0), tens, tens, tens, tens).best_of(
        np.array([0, 0, 1, 1])
    )
    assert (scores.exact.tolist(), scores.n_correct.tolist(), scores.nll.tolist()) == ([True, False], [2, 1], [1.0, 2.0])


def test_a_pattern_in_quotes_may_hold_what_the_grammar_uses(tmp_path: Path) -> None:
    folder = tmp_path / "a+b,c:d"
    folder.mkdir()
    path = write(folder, [{"a": 2, "b": 3, "sum": 5}])
    choice = canonical(f'data:path="{path}":input="{{a}}+{{b}}, {{a}}:":target=sum')
    assert canonical(choice) == choice
    assert data_in(choice) == [str(path)]
    assert strings(tasks.build(choice), 1) == {r"> 2 + 3 , \s 2 : | [5] ."}
    assert label(choice).endswith(":path=mine.jsonl:target=sum")
    assert display("tasks", f"data:path={path.name}") == "Data (mine.jsonl)"


def test_a_run_is_named_by_the_content_of_its_data(tmp_path: Path) -> None:
    first, copy = write(tmp_path, sorting(5)), write(tmp_path, sorting(5), "copy.jsonl")
    identity = [Config.from_keys(task=canonical(f"data:path={p}"), encoding="rope").identity["task"] for p in (first, copy)]
    assert identity[0] == identity[1]
    write(tmp_path, sorting(6), "copy.jsonl")
    assert Config.from_keys(task=canonical(f"data:path={copy}"), encoding="rope").identity["task"] != identity[0]


def test_the_answers_in_a_file_of_their_own_are_content_of_the_data(tmp_path: Path) -> None:
    source, target = tmp_path / "mine.src", tmp_path / "mine.tgt"
    source.write_text("a\nb\n" * 10, encoding="utf-8")
    task, ids, answers = canonical(f"data:path={source}"), set(), list[list[str]]()
    for text in ("1\n2\n", "3\n4\n"):
        target.write_text(text * 10, encoding="utf-8")
        ids.add(Config.from_keys(task=task, encoding="rope").id)
        answers.append(examples.load(Source(str(source))).all[0].answers[0])
    assert len(ids) == 2
    assert answers == [["1"], ["3"]]


def test_an_option_is_of_use_where_a_file_of_a_folder_is_read_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "corpus.v2"
    folder.mkdir()
    (folder / "a.txt").write_text("a\tb\n" * 20, encoding="utf-8")
    assert len(examples.load(Source(str(folder), rule="tab")).all) == 20
    (folder / "a.txt").rename(folder / "a.tsv")
    with pytest.raises(DataError, match=r"rule=tab: of use with .txt files only: remove it"):
        examples.load(Source(str(folder), rule="tab", input="a", target="b"))


FAULTS = {
    "path=nope.jsonl": "there is no such file, folder or pattern",
    "path=mine.jsonl:input=foo": "no column 'foo'; it has input, target, target_text",
    "path=mine.jsonl:tokens=word": "known are auto, char, space, byte",
    "path=mine.jsonl:length=target2": "no column 'target2'",
    "path=mine.jsonl:length=target_text": "is 'x', not a length",
    "path=mine.jsonl:split=target_text": "split 'x': known are",
}


@pytest.mark.parametrize("options", FAULTS)
def test_a_wrong_option_is_told_before_anything_starts(options: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, [{"input": "a", "target": "b", "target_text": "x"}])
    with pytest.raises(ChoiceError, match=FAULTS[options]):
        tasks.build(canonical(f"data:{options}"))


def rpe(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, result.output
    return result


def test_a_file_of_rows_trains_evaluates_by_length_and_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, sorting(120))
    trained = rpe("train", "--task", f"data:path={path.name}", "--length", "3", *TINY)
    assert "Data (mine.jsonl): input input, target target; space tokens, 9 of them; length = target" in trained.stderr
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("data-path-mine.jsonl-rope-s0-")
    assert "Data (mine.jsonl)" in rpe("eval", "--lengths", "3,5,6", "-j", "0").stdout
    lines = [json.loads(line) for line in (run / "eval.jsonl").read_text().splitlines()]
    assert {line["length"]: line["n"] for line in lines} == {3: 4, 5: 20, 6: 20}
    rpe("report")
    assert "mine.jsonl" in (tmp_path / "results/default/report.md").read_text()
    assert (
        "has no problem longer than 6: write length: 6"
        in rpe("train", "--task", f"data:path={path.name}", "--length", "9", code=2).stderr
    )
    path.write_text(path.read_text() + '{"input": "1", "target": "1"}\n')
    assert "has changed since this run was trained" in rpe("eval", "--lengths", "2", "-j", "0", code=1).stderr


def test_the_tokens_of_numbers_are_in_their_order(tmp_path: Path) -> None:
    task = built(write(tmp_path, [{"input": "10 9 b 2", "target": "2 9"}]))
    assert [task.word(symbol) for symbol in range(task.symbols)] == ["2", "9", "10", "b"]
    assert task.vocabulary == SPECIAL + 4


def test_data_whose_shortest_row_is_long_is_trained_on(tmp_path: Path) -> None:
    path = write(tmp_path, [{"input": str(n), "target": "1 " * 150 + str(n % 7)} for n in range(40)])
    task = built(path)
    assert [task.nearest_length(n) for n in (1, 151, 200)] == [151, 151, 151]
    config = Config(task=f"data:path={path}", encoding="rope", length=151)
    assert [batch.tokens_BxT.shape[1] for batch in data.validation_sets(task, config)] == [155]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--task", "data:path=FILE", "--length", "2"],
            "it has 39 rows, and no row up to length 2 is left for validation: add rows of the same lengths, or name the splits",
        ),
        (["--task", "data:path=FILE:rule=blocks"], "rule=blocks: of use with .txt files only: remove it"),
        (["--task", "data:path=FILE:field=rows"], "field=rows: of use with .json files only: remove it"),
        (["--task", "data:path=LINK"], "gone.jsonl: no such file or directory"),
        (["--task", "copy", "--eval-task", "sort"], "--eval-task: eval_task sort: the run is trained on copy"),
        (["--task", "copy", "--eval-task", "copy:symbols=3"], "it has 3 symbols, the trained task has"),
        (["--task", "copy", "--eval-task", "copy:nope=1"], "task copy has no option 'nope'"),
    ],
)
def test_what_would_fail_after_the_training_is_told_before(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, [{"input": "1 " * n, "target": "2 " * (n + 1)} for n in range(1, 40)])
    (tmp_path / "gone.jsonl").symlink_to(tmp_path / "nowhere")
    names = {"FILE": str(path), "LINK": str(tmp_path / "gone.jsonl")}
    choices = [word.replace("FILE", names["FILE"]).replace("LINK", names["LINK"]) for word in words]
    result = CliRunner().invoke(app, ["train", *choices, *TINY])
    assert result.exit_code == 2, result.stderr
    assert message in " ".join(result.stderr.split())
    assert not (tmp_path / "runs").exists()


FEW = "data:path=few.jsonl: it has {} and no row{} is left for {}: add rows of the same lengths, or name the splits"


def test_short_answers_to_long_inputs_are_told_how_inputs_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    inputs = [f"{n:012b}" for n in range(60)]
    write(tmp_path, [{"input": text, "target": str(text.count("1") % 2)} for text in inputs])
    task = built(tmp_path / "mine.jsonl")
    assert "every answer has 1 token: length=input takes the length of the input" in task.notes
    assert "every answer" not in " ".join(built(tmp_path / "mine.jsonl", length="input").notes)
    counted = "longer than 1 (tokens of the answer; length=input counts those of the input): write length: 1"
    said = rpe("train", "--task", "data:path=mine.jsonl", "--length", "12", *TINY, code=2).stderr
    assert f"has no problem {counted}" in " ".join(said.split())


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_too_few_rows_are_told_with_the_file_and_their_number_by_every_command(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, [{"input": f"a b {n}", "target": "a b c"} for n in range(number)], "few.jsonl")
    rows, first = f"{number} row{'s' * (number > 1)},", "validation" if number < 4 else "test"
    said = {
        "show": (["show", "data:path=few.jsonl"], FEW.format(rows, "", "test")),
        "choose": (["choose", "--data", "few.jsonl", "--minutes", "1"], FEW.format(rows, "", first)),
        "length": (
            ["choose", "--data", "few.jsonl", "--length", "3"],
            FEW.format(rows, " up to length 3" if number < 4 else "", first),
        ),
        "data": (
            ["data", "data:path=few.jsonl", "--lengths", "3", "--out", "sets"],
            f"has no problem held out of its {rows[:-1]}",
        ),
    }
    if number < 4:
        train = ["train", "--task", "data:path=few.jsonl", "--length", "3", *TINY]
        said["train"] = (train, FEW.format(rows, " up to length 3", "validation"))
    for words, message in said.values():
        assert message in " ".join(rpe(*words, code=2).stderr.split()).replace(f"path={tmp_path}/", "path=")
    assert "no row is left for " in " ".join(rpe("check", "data:path=few.jsonl", code=1).stdout.split())
    write(tmp_path, [{"input": "a b c", "target": "a b c"}] * 9, "few.jsonl")
    said = " ".join(rpe("show", "data:path=few.jsonl", code=2).stderr.split())
    assert "it has 9 rows, 8 of them copies of others, and no row is left for test" in said


def test_a_length_of_which_no_row_is_held_out_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, [*({"input": f"a {n}", "target": "a b"} for n in range(5)), {"input": "a", "target": "a b c d e f g h"}])
    assert "Examples of length 8" in rpe("show", "data:path=mine.jsonl").stdout


def test_without_a_second_path_no_other_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty path is no file; it stood for the working folder, whose every file was read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.txt").write_text("x")
    assert catalog.data_fingerprint("") == ""
    assert catalog.data_fingerprint("other.txt") == catalog.data_fingerprint("*.txt") != ""


def test_a_colon_within_a_path_is_told_how_to_write_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, [{"input": "a", "target": "b"}] * 9, "a:b.jsonl")
    with pytest.raises(
        ChoiceError, match=r"'b.jsonl' is not option=value; write a colon within a path as %3A: path=a%3Ab.jsonl$"
    ):
        canonical("data:path=a:b.jsonl")
    assert len(tasks.build(canonical("data:path=a%3Ab.jsonl")).table.all) == 9  # type: ignore[attr-defined]
