"""Which runs and evaluations a report takes, how it tells them apart, and what it warns of or refuses."""

import pytest
from helpers.run_folders import evaluation, make_run

from rpecli.report import build, paired, rows
from rpecli.report.aggregate import TaskResults
from rpecli.report.load import ReportError, load_runs
from rpecli.report.measures import EXACT
from rpecli.run.directory import Run
from rpecli.run.files import append_line
from rpecli.run.ways import evaluations_by_way


def only_task(paths) -> TaskResults:
    (task,) = build.report_content(paths, "mine").tasks
    return task


def accuracies(task: TaskResults, length: int = 16) -> dict[str, float]:
    """Mean token accuracy at a length, by label."""
    return {encoding.label: encoding.by_length[length]["token_accuracy"].mean for encoding in task.encodings}


def test_training_lengths_of_one_task_are_kept_apart(tmp_path):
    paths = [make_run(tmp_path, {16: 1.0, 32: 0.4}), make_run(tmp_path, {16: 1.0, 32: 0.9}, length=32)]
    tasks = build.report_content(paths, "mine").tasks
    assert [(task.title, accuracies(task, 32)) for task in tasks] == [
        ("Copy, trained to 16", {"rope": 0.4}), ("Copy, trained to 32", {"rope": 0.9})]  # fmt: skip


def test_runs_that_differ_in_a_recipe_key_are_never_averaged(tmp_path):
    paths = [
        make_run(tmp_path, {16: 0.4}),
        make_run(tmp_path, {16: 0.8}, steps=1000),
        make_run(tmp_path, {16: 0.6}, steps=500, seed=1),
    ]
    assert list(accuracies(only_task(paths)).items()) == [
        ("rope steps=100", 0.4),
        ("rope steps=500", 0.6),
        ("rope steps=1000", 0.8),
    ]


def test_keys_that_only_change_what_is_evaluated_do_not_split_an_encoding(tmp_path):
    paths = [make_run(tmp_path, {16: 0.4}, lengths="1x"), make_run(tmp_path, {16: 0.8}, seed=1, lengths="1x,2x")]
    assert accuracies(only_task(paths)) == {"rope": pytest.approx(0.6)}


def test_positions_are_part_of_the_label(tmp_path):
    paths = [make_run(tmp_path, {16: 0.4}, positions=positions) for positions in ("start", "randomized", "offset")]
    assert list(accuracies(only_task(paths))) == ["rope", "rope+offset", "rope+randomized"]


def test_two_files_of_one_name_are_two_encodings(tmp_path):
    paths = []
    for folder, base in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(f'"""Mine."""\nbase = {base}\n')
        paths.append(make_run(tmp_path, {16: base / 2}, encoding=tmp_path / folder / "mine.py"))
    assert [label.partition("=")[0] for label in accuracies(only_task(paths))] == ["mine file", "mine file"]


def test_a_copy_of_a_run_is_no_second_seed(tmp_path):
    loaded = load_runs([make_run(tmp_path / "a", {16: 0.4}), make_run(tmp_path / "b", {16: 0.8})])
    assert [run.by_length("token_accuracy") for run in loaded.runs] == [{16: 0.4}]
    assert any("are the same run" in text for text in loaded.warnings)


def test_the_same_directory_twice_counts_once(tmp_path):
    path = make_run(tmp_path, {16: 0.4})
    loaded = load_runs([path, path])
    assert (loaded.warnings, len(loaded.runs)) == ([], 1)


def test_of_several_evaluations_of_a_length_the_last_of_the_largest_counts(tmp_path):
    path = make_run(tmp_path, {16: 0.1})
    for accuracy, n in ((0.2, 200), (0.3, 200), (0.9, 50)):
        append_line(path / "eval.jsonl", evaluation(16, accuracy, accuracy) | {"n": n})
    assert accuracies(only_task([path])) == {"rope": 0.3}


def test_evaluations_of_older_weights_do_not_count(tmp_path):
    path = make_run(tmp_path, {16: 0.1, 32: 0.1}, line={"weights": "older"})
    append_line(path / "eval.jsonl", evaluation(16, 0.8, 0.8) | {"n": 50})
    loaded = load_runs([path])
    assert loaded.runs[0].by_length("token_accuracy") == {16: 0.8}
    assert loaded.warnings == [f"{path}: evaluated at 32 with older weights only, left out: rpe eval {path}"]


def test_evaluations_of_other_weights_than_those_of_the_record_do_not_count(tmp_path):
    now = make_run(tmp_path, {16: 0.9}, line={"weights": "now"}, info={"weights": "now"})
    append_line(now / "eval.jsonl", evaluation(32, 0.1, 0.1))
    none = make_run(tmp_path, {16: 0.1, 32: 0.1}, seed=1, info={"weights": "now"})
    loaded = load_runs([now, none])
    assert sorted(len(run.evaluations) for run in loaded.runs) == [0, 1]
    for path, lengths in ((now, "32"), (none, "16, 32")):
        assert f"{path}: evaluated at {lengths} with older weights only, left out: rpe eval {path}" in loaded.warnings
    assert [list(Run(path).latest_evaluations()) for path in (now, none)] == [[16], []]
    assert [[*map(list, evaluations_by_way(Run(path)).values())] for path in (now, none)] == [[[16]], []]


def test_an_evaluation_with_another_encoding_is_an_entry_of_its_own(tmp_path):
    path = make_run(tmp_path, {16: 0.4})
    append_line(path / "eval.jsonl", evaluation(16, 0.1, 0.0) | {"encoding_override": "none"})
    append_line(path / "eval.jsonl", evaluation(16, 0.2, 0.0) | {"positions": "randomized"})
    task = only_task([path])
    assert accuracies(task) == {"rope": 0.4, "rope at randomized": 0.2, "rope as none": 0.1}
    assert [encoding.group for encoding in task.encodings] == ["RPE", "RPE", "none"]


def test_a_failed_run_counts_as_not_solved_and_is_in_no_mean(tmp_path):
    failed = make_run(tmp_path, {}, seed=1, info={"status": "failed", "error": "the loss\nis nan"})
    content = build.report_content([make_run(tmp_path, {16: 1.0}), failed], "mine")
    (rope,) = content.tasks[0].encodings
    assert (rope.solved_flags, rope.n_failed, rope.by_length[16]["exact_match"].n) == ([True, False], 1, 1)
    assert any("1 of 2 runs failed" in note for note in content.tables[0].footnotes)
    assert any(str(failed) in text and "the loss is nan" in text for text in content.warnings)


def test_an_encoding_of_which_every_run_failed_keeps_its_row(tmp_path):
    failed = make_run(tmp_path, {}, encoding="alibi", info={"status": "failed", "error": "nan"})
    table = build.report_content([make_run(tmp_path, {16: 1.0}), failed], "mine").tables[0]
    assert [cells[0].split(" [")[0] for cells in table.rows] == ["ALiBi", "RoPE"]
    assert table.rows[0][2:4] == ["0/1", "-"]


def test_runs_not_trained_or_not_evaluated_are_warned_of_and_keep_a_row(tmp_path):
    unevaluated = make_run(tmp_path, {}, seed=1)
    training = make_run(tmp_path, {16: 1.0}, seed=2, info={"status": "training"})
    loaded = load_runs([make_run(tmp_path, {16: 1.0}), unevaluated, training])
    assert any(f"rpe eval {unevaluated}" in text for text in loaded.warnings)
    assert any("not trained to the end" in text and str(training) in text for text in loaded.warnings)
    lines = [(line["seed"], line["status"], line["length"]) for line in rows.run_rows(loaded.runs)]
    assert lines == [(0, "trained", 16), (1, "trained", None), (2, "training", None)]


def test_a_run_never_evaluated_at_its_training_length_is_neither_solved_nor_unsolved(tmp_path):
    content = build.report_content([make_run(tmp_path, {32: 1.0})], "mine")
    assert content.tasks[0].solved_flags == []
    assert content.tables[0].rows[0][2] == "-"
    assert any("not evaluated at the training length" in text and "--lengths 1x" in text for text in content.warnings)


def test_a_length_that_only_some_seeds_have_is_marked(tmp_path):
    paths = [make_run(tmp_path, {16: 1.0, 32: 0.5}), make_run(tmp_path, {16: 1.0}, seed=1)]
    table = build.report_content(paths, "mine").tables[0]
    assert dict(zip(table.columns, table.rows[0], strict=True))["32 (2x)"] == "50 % [a]"
    assert table.footnotes == ["[a] RoPE: only 1 of 2 runs have a score at 32"]


def test_a_damaged_run_is_warned_of_and_the_others_are_reported(tmp_path):
    damaged = make_run(tmp_path, {16: 1.0}, seed=1)
    (damaged / "run.json").write_text("{")
    loaded = load_runs([make_run(tmp_path, {16: 0.7}), damaged, tmp_path / "absent"])
    assert len(loaded.runs) == 1
    assert sum("run.json: damaged" in text or "no run" in text for text in loaded.warnings) == 2


def test_a_run_of_another_record_format_is_left_out_and_named(tmp_path):
    older = make_run(tmp_path, {16: 0.4}, seed=1, info={"format": 2})
    loaded = load_runs([make_run(tmp_path, {16: 0.7}), older])
    assert [run.config.seed for run in loaded.runs] == [0]
    (text,) = loaded.warnings
    assert str(older) in text
    assert "record format 2" in text


def test_an_encoding_whose_file_changed_between_runs_is_warned_of(tmp_path):
    first = make_run(tmp_path, {16: 0.4})
    code = Run(first).record["code"] | {"encodings/rope.py": "11111111"}
    paths = [first, make_run(tmp_path, {16: 0.8}, seed=1, info={"code": code})]
    content = build.report_content(paths, "mine")
    message = "rpe's code changed between these runs: encodings/rope.py: train them with one version"
    assert message in content.warnings
    assert any("RoPE: the file of its task or encoding changed" in note for note in content.tables[0].footnotes)


def test_one_file_for_all_seeds_is_not_warned_of(tmp_path):
    content = build.report_content([make_run(tmp_path, {16: 0.4}, seed=seed) for seed in (0, 1)], "mine")
    assert content.warnings == []
    assert not any("changed" in note for table in content.all_tables for note in table.footnotes)


def test_runs_of_two_commits_are_warned_of(tmp_path):
    paths = [make_run(tmp_path, {16: 0.4}), make_run(tmp_path, {16: 0.8}, seed=1, info={"commit": "b1ade0123456"})]
    assert any("trained by 2 commits of rpe: b1ade012 (1), c0ffee (1)" in text for text in load_runs(paths).warnings)


def test_a_run_whose_recipe_has_another_id_today_is_warned_of(tmp_path):
    path = make_run(tmp_path, {16: 0.4}, info={"id": "copy-rope-s0-00000000"})
    (text,) = load_runs([path]).warnings
    assert "other ids" in text
    assert str(path) in text


def test_a_run_measured_on_another_set_is_left_out_with_a_command_that_measures_it(tmp_path):
    paths = [make_run(tmp_path, {16: 1.0, 32: 0.5}, seed=seed) for seed in (0, 1)]
    other = make_run(tmp_path, {16: 1.0, 32: 0.5}, encoding="alibi", line={"fingerprint": "other", "eval_seed": 7})
    content = build.report_content([*paths, other], "mine")
    assert [list(encoding.by_length) for encoding in content.tasks[0].encodings] == [[], [16, 32]]  # ALiBi, RoPE
    (text,) = content.warnings
    assert text == (
        f"1 run measured at 16,32 on other sequences than the others of the task (100 sequences of seed 7; the others: "
        f"100 sequences of seed 0), left out there: rpe eval {other} --lengths 16,32 --eval-seed 0 --samples 100"
    )


def test_a_run_measured_in_another_way_on_fewer_sequences_blocks_no_other(tmp_path):
    paths = [make_run(tmp_path, {16: 1.0, 32: 0.5}, seed=seed, line={"n": 16, "fingerprint": "sixteen"}) for seed in (0, 1, 2)]
    few = evaluation(16, 0.9, 0.9) | {"encoding_override": "rope:scaling=yarn", "n": 8, "fingerprint": "eight"}
    Run(paths[0]).append_evaluation(few)
    content = build.report_content(paths, "mine")
    assert [encoding.label for encoding in content.tasks[0].encodings] == ["rope"]
    (text,) = content.warnings
    assert text.endswith(
        f"rpe eval {paths[0]} --swap-encoding rope:scaling=yarn --eval-positions start --lengths 16 --eval-seed 0 --samples 16"
    )  # fmt: skip
    Run(paths[0]).append_evaluation(few | {"n": 16, "fingerprint": "sixteen"})  # what that command does
    content = build.report_content(paths, "mine")
    assert [encoding.label for encoding in content.tasks[0].encodings] == ["rope", "rope as rope:scaling=yarn"]
    assert paired.extrapolation_lengths(content.tasks[0]) == [32]
    assert list(paired.scores(content.tasks[0], EXACT)) == ["rope"]


@pytest.mark.parametrize(
    ("lengths", "compared", "rows"),
    [
        ([{16, 32, 64}, {16, 32, 64}, {16, 32, 64}], [32, 64], [0, 1, 2]),
        ([{16, 32, 64}, {16, 32, 64}, {16}], [32, 64], [0, 1]),
        ([{16, 32, 64}, {16, 32}, {16, 32, 64}], [32], [0, 1, 2]),
        ([{16, 32}, {16, 32}, {16, 128}], [32], [0, 1]),
        ([{16}, {16}, {16}], [], []),
    ],
)
def test_a_run_without_the_lengths_of_the_others_is_in_no_comparison_and_stops_none(tmp_path, lengths, compared, rows):
    paths = [make_run(tmp_path, dict.fromkeys(sorted(of_run), 0.5), seed=seed) for seed, of_run in enumerate(lengths)]
    content = build.report_content(paths, "mine")
    (task,) = content.tasks
    assert paired.extrapolation_lengths(task) == compared
    assert sorted(paired.scores(task, EXACT).get("rope", {})) == rows
    told = [text for text in content.warnings if "in no comparison" in text]
    assert len(told) == (len(rows) not in (0, 3))


def test_a_run_without_a_length_that_most_have_is_named_since_comparisons_lose_it(tmp_path):
    lengths = [(16, 32, 64), (16, 32, 64), (16, 32), (16, 32, 64, 128)]
    paths = [make_run(tmp_path, dict.fromkeys(of_run, 0.5), seed=seed) for seed, of_run in enumerate(lengths)]
    (told,) = build.report_content(paths, "mine").warnings
    assert told == (
        "1 run of Copy, trained to 16, not evaluated at 64 as most are, so comparisons leave out what was measured there: "
        f"rpe eval {paths[2]} --lengths 64"
    )
    Run(paths[2]).append_evaluation(evaluation(64, 0.5, 0.5))
    content = build.report_content(paths, "mine")
    assert paired.extrapolation_lengths(content.tasks[0]) == [32, 64]
    assert not content.warnings


def test_a_set_that_all_runs_share_is_taken_before_a_larger_one_of_a_few(tmp_path):
    one, other = make_run(tmp_path, {16: 0.4}), make_run(tmp_path, {16: 0.6}, seed=1)
    append_line(other / "eval.jsonl", evaluation(16, 0.9, 0.9) | {"fingerprint": "large", "n": 500})
    assert accuracies(only_task([one, other])) == {"rope": 0.5}
    append_line(one / "eval.jsonl", evaluation(16, 0.7, 0.7) | {"fingerprint": "large", "n": 500})
    assert accuracies(only_task([one, other])) == {"rope": pytest.approx(0.8)}


def test_different_tasks_have_different_sets(tmp_path):
    one, other = make_run(tmp_path, {16: 1.0}), make_run(tmp_path, {16: 1.0}, task="sort", line={"fingerprint": "other"})
    assert len(load_runs([one, other]).runs) == 2


def test_no_runs_are_refused():
    with pytest.raises(ReportError, match="rpe train"):
        load_runs([])


def test_runs_without_any_evaluation_are_refused_with_what_to_type(tmp_path):
    path = make_run(tmp_path, {})
    with pytest.raises(ReportError, match=f"(?s)no run is evaluated.*rpe eval {path}"):
        load_runs([path])


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ReportError, match="not a run directory"):
        load_runs([tmp_path])


def test_own_data_of_one_name_and_other_content_are_two_tasks(tmp_path):
    """In two folders, the folder tells them apart; in one, whose file was changed, the fingerprint."""
    paths = []
    for folder, content in (("one", "a" * 8), ("two", "b" * 8)):
        (tmp_path / folder).mkdir()
        file = tmp_path / folder / "mine.jsonl"
        file.write_text("".join(f'{{"input": "{n}", "target": "{content[0]}"}}\n' for n in range(9)))
        info = {"data": {str(file): content}}
        paths.append(make_run(tmp_path / "runs", {16: 1.0, 32: 0.5}, task=f"data:path={file}", info=info))
    content = build.report_content(paths, "mine")
    assert [task.short_title for task in content.tasks] == ["Data (mine.jsonl in one)", "Data (mine.jsonl in two)"]
    assert [len(task.own) for task in content.tasks] == [1, 1]
    assert not any("same run" in message for message in content.warnings)
    Run(paths[1]).update(data={str(tmp_path / "one" / "mine.jsonl"): "b" * 8})
    titles = [task.short_title for task in build.report_content(paths, "mine").tasks]
    assert titles == ["Data (mine.jsonl in version aaaaaaaa)", "Data (mine.jsonl in version bbbbbbbb)"]
    Run(paths[1]).update(data={str(tmp_path / "two" / "mine.jsonl"): "a" * 8})
    assert only_task(paths).short_title == "Data (mine.jsonl)"


def test_a_score_that_is_no_number_leaves_its_run_out_and_is_told(tmp_path):
    """Not the length: the others are compared there; and what comes behind does not count towards the length that holds."""
    keys = {"task": "text", "line": {"chance_nll": 3.0, "nll": 1.0}}
    paths = [make_run(tmp_path, {16: 0.5, 32: 0.4}, encoding=encoding, seed=seed, **keys)
             for encoding in ("rope", "learned") for seed in range(3)]  # fmt: skip
    for path in paths:
        bad = path.name.startswith("text-learned-s0")
        for length, nll in ((64, None if bad else 1.0), (128, 1.0)):
            Run(path).append_evaluation(evaluation(length, 0.3, 0.0) | keys["line"] | {"nll": nll})
    content = build.report_content(paths, "mine")
    (task,) = content.tasks
    (warning,) = [message for message in content.warnings if "without a finite score at 64" in message]
    assert "text-learned-s0" in warning
    assert paired.extrapolation_lengths(task) == [32, 64, 128]
    scores = paired.scores(task, task.scoring.decides)
    assert {label: sorted(by_seed) for label, by_seed in scores.items()} == {"learned": [1, 2], "rope": [0, 1, 2]}
    learned = next(one for one in task.encodings if one.label == "learned")
    assert [run.effective_length() for run in learned.runs] == [32, 128, 128]
    assert build.build_report(paths, "mine", tmp_path / "results", "rpe report").files


def test_two_searches_of_the_same_rates_with_other_seeds_are_two_rows(tmp_path):
    def search(taken: float, seed: int) -> dict[str, object]:
        tried = [{"lr": lr, "runs": [f"{seed}-{lr}"], "token_accuracy": 0.5, "loss": 1.0} for lr in (0.003, 0.006)]
        return {"lr_search": {"taken": taken, "seeds": [seed], "tried": tried}}

    paths = [make_run(tmp_path, {16: 1.0, 32: score}, seed=seed, lr=taken, info=search(taken, by))
             for taken, by, score in ((0.003, 1000, 0.9), (0.006, 1001, 0.3)) for seed in range(3)]  # fmt: skip
    task = only_task(paths)
    assert [(one.label, len(one.runs)) for one in task.encodings] == [("rope search_seed=1000", 3), ("rope search_seed=1001", 3)]
