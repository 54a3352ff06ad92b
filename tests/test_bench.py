"""The benchmarks: cases take turns, and the tables and files hold what was measured. No test depends on a speed."""

import csv
import json
import math
import socket
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from helpers import training as tiny

from rpecli import bench, catalog, data, device
from rpecli.bench import attention, evaluation, machine, memory, peers, steps, timing
from rpecli.bench import stack as stacking
from rpecli.bench import train as training
from rpecli.bench.result import Result, number
from rpecli.bench.rows import AttentionRow, LearnedRow, PeerRow
from rpecli.table import Table
from rpecli.train import state as train_state

SIZE = bench.Size(16, 1, 2, 16, 4)
CPU = torch.device("cpu")


@pytest.fixture
def quick(monkeypatch):
    """Measurements as short as they can be."""
    monkeypatch.setattr(training, "MIN_SECONDS", 0.0)
    monkeypatch.setattr(training, "MATRIX_SIZES", (8,))


class FakeMachine:
    """A clock, and calls that advance it by the seconds they are said to take."""

    def __init__(self) -> None:
        self.now, self.calls = 0.0, list[str]()

    def case(self, name: str, *seconds: float):
        """A call that takes the first of `seconds`, then the second, ...; the last one from then on."""
        remaining = list(seconds)

        def call() -> None:
            self.calls.append(name)
            self.now += remaining.pop(0) if len(remaining) > 1 else remaining[0]

        return call

    def stopwatch(self, **limits: float) -> timing.Stopwatch:
        return timing.Stopwatch(**limits, clock=lambda: self.now)


def test_cases_take_turns():
    fake = FakeMachine()
    timings = fake.stopwatch().interleave({name: fake.case(name, 1.0) for name in "ABC"}, 3)
    assert "".join(fake.calls[3:]) == "ABCABCABC"
    assert timings["B"].rounds == [1.0, 1.0, 1.0]


def test_short_calls_are_repeated_within_a_round():
    fake = FakeMachine()
    timings = fake.stopwatch(min_seconds=0.03).interleave({"A": fake.case("A", 5.0, 0.01)}, 2)
    assert timings["A"].calls == 1, "a first call of over a second is not followed by a second warm-up call"
    fake = FakeMachine()
    timings = fake.stopwatch(min_seconds=0.03).interleave({"A": fake.case("A", 0.5, 0.01)}, 2)
    assert timings["A"].calls == 3
    assert timings["A"].rounds == pytest.approx([0.01, 0.01])
    assert len(fake.calls) == 2 + 2 * 3


@pytest.mark.parametrize(("limit", "of_a", "of_b"), [(20, 2, 2), (8, 1, 1), (7, 1, 1), (3.5, 1, 1), (2, 1, 0)])
def test_nothing_begins_once_the_time_is_over_and_only_whole_rounds_count(limit: float, of_a: int, of_b: int):
    fake = FakeMachine()
    cases = {name: fake.case(name, 2.0) for name in "AB"}
    timings = fake.stopwatch().interleave(cases, 2, lambda: fake.now >= limit)
    assert (len(timings["A"].rounds), len(timings["B"].rounds)) == (of_a, of_b)
    assert fake.now < limit + 2
    assert timings["A"].rounds[0] == 2.0, "without a whole round, the warm-up"


def test_a_case_that_takes_too_long_is_timed_once():
    fake = FakeMachine()
    timings = fake.stopwatch(slowest=5).interleave({"A": fake.case("A", 1.0), "slow": fake.case("slow", 9.0)}, 3)
    assert fake.calls.count("slow") == 1
    assert timings["slow"].rounds == [9.0]
    assert "timed once" in timings["slow"].note
    assert timing.ratio(timings["slow"], timings["A"]) == 9.0


def test_a_ratio_is_the_median_of_the_rounds_ratios():
    a, b = timing.Timing(rounds=[2.0, 4.0, 30.0]), timing.Timing(rounds=[1.0, 4.0, 10.0])
    assert timing.ratio(a, b) == 2.0  # the ratio of the medians is 1
    assert math.isnan(timing.ratio(a, timing.Timing()))
    assert math.isnan(timing.ratio(timing.Timing(), b))


def test_peers_name_encodings_that_exist():
    assert {*peers.COMPARED, *peers.X_TRANSFORMERS, bench.REFERENCE} <= set(catalog.names("encodings"))


def records(table: Table) -> list[dict[str, str]]:
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def attention_row(choice: str, length: int, ratio: float, extra_mb: float = math.nan, note: str = "") -> AttentionRow:
    timed, plain = timing.Timing(rounds=[ratio / 100]), timing.Timing(rounds=[0.01])
    row = attention.timed_row(choice, length, timed, plain)
    row.extra_mb, row.note = extra_mb, note
    return row


def test_the_attention_table_has_one_row_per_encoding_the_fastest_first():
    rows = [attention_row("cope", 2048, 9.0), attention_row("t5", 2048, 1.3), attention_row("alibi", 2048, 1.1)]
    rows += [attention_row("alibi", 8192, 1.2, extra_mb=30.0), attention_row("t5", 8192, 1.2, extra_mb=70.0)]
    rows += [attention.skipped_row("cope", 8192, 16.0)]
    assert records(attention.table(rows)) == [
        {"encoding": "alibi", "2048": "1.10x", "8192": "1.20x", "MB at 8192": "30", "note": ""},
        {"encoding": "t5", "2048": "1.30x", "8192": "1.20x", "MB at 8192": "70", "note": ""},
        {"encoding": "cope", "2048": "9.00x", "8192": "-", "MB at 8192": "-",
         "note": "8192: not timed: a call would take about 16 s"},
    ]  # fmt: skip


def peer_row(library: str, setting: str, *rounds: float, note: str = "") -> PeerRow:
    case = steps.Case(library, setting, lambda: None, 1000)
    return PeerRow(**training.step_fields(SIZE, "rope", case, timing.Timing(rounds=list(rounds), note=note)))


def test_a_peer_is_compared_in_its_fastest_setting_and_every_setting_is_listed():
    rows = [peer_row("rpe", "float32", 1.0, 2.0), peer_row("rpe", "bfloat16", 0.5, 1.0)]
    rows += [peer_row("x-transformers", "default", 3.0, 4.0), peer_row("x-transformers", "flash", 1.5, 2.5)]
    rows += [peer_row("x-transformers", "wrong", note="no such setting")]
    fastest, every = map(records, training.peer_tables(rows, ("float32", "bfloat16")))
    assert [row["setting"] for row in fastest] == ["flash"]
    assert fastest[0]["rpe float32 / x-transformers"] == "1.38x"  # the median of 1.5 and 1.25
    assert [row["note"] for row in every] == ["", "", "", "", "no such setting"]
    assert every[-1]["tokens"] == "-"


def test_learned_encodings_are_sorted_by_their_time():
    rows = [LearnedRow(**asdict(peer_row("rpe", "float32", 1.0)) | {"encoding": name, "ratio": ratio, "reference_ms": 1.0})
            for name, ratio in (("shaw", 9.0), ("fire", 1.6), ("t5", 1.1))]  # fmt: skip
    table = records(training.learned_table(rows))
    assert [(row["encoding"], row["over rope"]) for row in table] == [("t5", "1.10x"), ("fire", "1.60x"), ("shaw", "9.00x")]


def test_evaluation_is_compared_with_the_training_of_the_same_round():
    row = evaluation.time_row(tiny.config(), [10.0, 20.0, 10.0], [3.0, 4.0, 2.0])
    assert row.share == 0.2
    assert records(evaluation.time_table([row]))[0]["share"] == "20%"


def test_a_result_is_three_files(tmp_path):
    rows = [attention_row("a|b", 16, 1.0), peer_row("rpe", "float32", 1.0, 2.0)]
    result = Result("name", {"machine": "M"}, [Table.of([{"case": "a|b", "x": "1", "note": "text"}], "Numbers")], rows)
    files = result.write(tmp_path / "new")
    assert [path.name for path in files] == ["name.md", "name.csv", "name.json"]
    text = files[0].read_text()
    assert text.startswith("# rpe bench name\n\n- machine: M\n\n## Numbers\n\n")
    assert "a\\|b" in text
    first, second = csv.DictReader(files[1].read_text().splitlines())
    assert (first["encoding"], first["extra_mb"], first["library"]) == ("a|b", "", "")
    assert (second["library"], second["rounds"]) == ("rpe", "1.0 2.0")
    first, second = json.loads(files[2].read_text())["rows"]
    assert (first["ratio"], first["extra_mb"]) == (1.0, None)
    assert second["rounds"] == [1.0, 2.0]


def test_numbers_are_formatted_for_people():
    assert [number(x, 0) for x in (1234.4, -0.3, math.nan)] == ["1,234", "0", "-"]


def test_facts_contain_no_host_name_and_no_path():
    text = json.dumps(machine.facts(CPU, bench.Options()))
    assert socket.gethostname() not in text
    assert str(Path.home()) not in text
    assert str(catalog.PACKAGE.parent) not in text
    assert "GiB" in text


def test_memory_is_that_of_the_call_alone(tmp_path, monkeypatch):
    (tmp_path / "allocates.py").write_text(
        "def prepare(before, during):\n    data = b'x' * before\n    return lambda: (data, b'y' * during)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    peak = memory.peak("allocates.prepare", {"before": 200 * memory.MB, "during": 50 * memory.MB})
    assert 49 < peak / memory.MB < 60


def test_a_process_that_fails_or_takes_too_long_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "fails.py").write_text(
        "import time\n\ndef prepare(seconds):\n    time.sleep(seconds)\n    raise MemoryError('no more')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(memory.MeasurementError, match="MemoryError: no more"):
        memory.peak("fails.prepare", {"seconds": 0})
    with pytest.raises(memory.MeasurementError, match="not finished after"):
        memory.peak("fails.prepare", {"seconds": 60}, timeout=0.5)


def test_without_a_resettable_peak_the_peak_of_the_whole_process_is_measured(monkeypatch, tmp_path):
    monkeypatch.setattr(device, "RESET_PEAK", tmp_path / "missing" / "clear_refs")
    assert memory.growth(lambda: None) > 10 * memory.MB


def test_every_encoding_can_be_timed(encoding_name):
    assert attention.attention_call(encoding_name, 20, CPU)().shape == (1, attention.N_HEAD, 20, attention.D)


def test_the_time_of_a_longer_call_is_predicted_by_the_square_of_the_length():
    rows = [attention_row("cope", 1024, 100.0)]  # 1 second
    assert attention.predicted_seconds(rows, "cope", 4096) == 16.0
    assert attention.predicted_seconds(rows, "t5", 4096) == 0.0


def test_the_model_reads_as_many_tokens_as_the_size_says_and_half_of_them_are_scored():
    trainer = train_state.build_trainer(steps.config_of(SIZE, "rope"), CPU)
    batch = data.shift_targets(data.train_batch(trainer.task, trainer.config, 5), trainer.config)
    assert batch.inputs_BxT.shape == (SIZE.batch, SIZE.length)
    assert batch.scored_BxT.sum() == SIZE.batch * steps.n_scored(SIZE)


def test_operations_are_six_per_weight_and_token_plus_those_of_attention():
    trainer = train_state.build_trainer(steps.config_of(SIZE, "none"), CPU)
    weights = sum(p.numel() for name, p in trainer.model.named_parameters() if name.startswith("blocks") and p.dim() == 2)
    tokens, head = SIZE.batch * SIZE.length, trainer.model.out.weight.numel()
    pairs = SIZE.batch * SIZE.length**2 / 2  # a score and a value, one multiply-add a channel each
    expected = 6 * (tokens * weights + SIZE.batch * steps.n_scored(SIZE) * head + pairs * 2 * SIZE.width)
    assert steps.flops(SIZE, trainer.task.vocabulary) == expected


@pytest.mark.parametrize(("seconds", "fastest"), [(7.9, 200), (8.1, 100)])
def test_the_peak_is_the_matrix_product_with_most_operations_per_second(seconds, fastest):
    timings = {100: timing.Timing(rounds=[1.0]), 200: timing.Timing(rounds=[seconds])}
    assert training.fastest_product(timings) == fastest


@pytest.mark.parametrize("library", peers.LIBRARIES, ids=lambda library: library.name)
def test_a_peer_has_as_many_parameters_as_rpe_in_every_setting(library):
    if not library.installed:
        pytest.skip(f"{library.name} is not installed")
    size = bench.Size(32, 1, 2, 16, 4)
    for choice in peers.COMPARED:
        own = steps.rpe_case(size, choice, "float32", CPU).parameters
        cases, errors = training.cases_of(library, size, choice, CPU)
        assert cases or not library.settings(choice)
        assert all("not compatible" in message for message in errors.values())  # x-transformers' flash has no learned biases
        for case in cases:
            assert abs(case.parameters / own - 1) < 0.05, f"{choice}, {case.setting}"


def test_a_setting_that_a_peer_refuses_is_a_note(quick):
    def build(encoding, setting, size, vocabulary):
        raise AssertionError("never together")

    library = peers.Library("Other", "json", lambda encoding: ["only"], build)
    rows = training.peer_rows(SIZE, "rope", bench.Options(repeats=1, dtypes=("float32",)), print, [library])
    assert [(row.library, row.note) for row in rows] == [("rpe", ""), ("Other", "never together")]


def test_attention_of_a_few_tokens(rpe, tmp_path, quick):
    result = rpe("bench", "attention", "--encodings", "t5", "--lengths", 64, "--repeats", 1, "--out", tmp_path)
    assert result.code == 0, result.err
    (row,) = json.loads((tmp_path / "attention.json").read_text())["rows"]
    assert (row["encoding"], row["length"], row["rounds"]) == ("t5", 64, 1)
    assert row["ratio"] > 0
    assert row["extra_mb"] is not None
    assert "| t5 " in result.out


def test_training_without_peers(rpe, tmp_path, quick, monkeypatch):
    monkeypatch.setattr(peers.Library, "installed", property(lambda self: False))
    result = rpe("bench", "train", "--encodings", "t5", "--sizes", SIZE, "--repeats", 1, "--dtype", "float32", "--out", tmp_path)
    assert result.code == 0, result.err
    rows = json.loads((tmp_path / "train.json").read_text())["rows"]
    assert [(row["table"], row.get("library")) for row in rows] == [
        ("peers", "rpe"), ("peers", "x-transformers"), ("learned encodings", "rpe"), ("efficiency", None)]  # fmt: skip
    assert rows[1]["note"] == "not installed"
    assert rows[3]["share_of_peak"] > 0
    assert "Training beside" not in result.out


def test_evaluation_of_a_run_and_its_memory(rpe, tmp_path, quick):
    run = tiny.trained_run(tmp_path / "runs")
    before = sorted(file.name for file in run.path.iterdir())
    result = rpe("bench", "eval", "--run", run, "--lengths", 16, "--repeats", 1, "--out", tmp_path / "out")
    assert result.code == 0, result.err
    time, peak = json.loads((tmp_path / "out" / "eval.json").read_text())["rows"]
    assert time["run"] == run.name
    assert time["share"] > 0
    assert (peak["length"], peak["note"]) == (16, "")
    assert peak["measured_mb"] is not None
    assert sorted(file.name for file in run.path.iterdir()) == before, "the run itself does not change"


def test_stacked_seeds_beside_other_methods(rpe, tmp_path, quick, monkeypatch):
    monkeypatch.setattr(stacking, "SEEDS", 2)
    monkeypatch.setattr(stacking, "STEPS", 1)
    result = rpe("bench", "stack", "--encodings", "t5", "--sizes", SIZE, "--repeats", 1, "--out", tmp_path)
    assert result.code == 0, result.err
    rows = json.loads((tmp_path / "stack.json").read_text())["rows"]
    assert [row["method"] for row in rows][:2] == ["one after another", "stacked"]
    assert rows[2]["method"].endswith("processes")
    assert rows[0]["gain"] == 1
    assert all(row["step_ms"] > 0 for row in rows)


def test_runs_that_cannot_be_stacked_have_a_note():
    rows = stacking.stack_rows(SIZE, "rope:then=none", bench.Options(repeats=1))
    (record,) = records(stacking.table(rows))
    assert (record["method"], record["gain"]) == ("stacked", "-")
    assert "encoding" in record["note"]


def test_without_a_name_three_benchmarks_run_in_short(rpe, tmp_path, monkeypatch):
    measured = []

    def measure(name, options, log):
        measured.append((name, options.short))
        return Result(name, {})

    monkeypatch.setattr(bench, "measure", measure)
    assert rpe("bench", "--out", tmp_path).code == 0
    assert measured == [("attention", True), ("train", True), ("eval", True)]


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["atention"], "did you mean attention?"),
        (["train", "--sizes", "64x2"], "width x layers x heads x length x batch"),
        (["train", "--sizes", "64x2x5x64x8"], "heads of an even width"),
        (["train", "--sizes", "64x2x4x63x8"], "even number"),
        (["train", "--dtype", "float16"], "float32 or bfloat16"),
        (["attention", "--encodings", "ropes"], "did you mean rope"),
        (["attention", "--lengths", "0"], "0"),
        (["attention", "--lengths", "2x"], "write 2048:16384"),
        (["attention", "--device", "abacus"], "--device"),
    ],
)
def test_a_mistake_is_reported_with_its_remedy(rpe, tmp_path, words, remedy):
    result = rpe("bench", *words, "--out", tmp_path)
    assert result.code == 2
    assert remedy in result.err
    assert not list(tmp_path.iterdir())
