"""The benchmarks: cases take turns, goals are judged, tables say what was measured. Nothing here asserts a time."""

import csv
import json
import math
import socket
from pathlib import Path

import pytest
import torch
from helpers import training as tiny

from rpecli import bench, catalog, data
from rpecli.bench import attention, breakdown, evaluation, goals, machine, memory, peers, steps, timing
from rpecli.bench import stack as stacking
from rpecli.bench import train as training
from rpecli.bench.table import Result, Table, number
from rpecli.train import state as train_state

SIZE = bench.Size(16, 1, 2, 16, 4)
CPU = torch.device("cpu")


@pytest.fixture
def quick(monkeypatch):
    """Measurements as short as they can be."""
    monkeypatch.setattr(timing, "LEAST", 0.0)
    monkeypatch.setattr(training, "LEAST", 0.0)
    monkeypatch.setattr(training, "SQUARES", (8,))
    monkeypatch.setattr(breakdown, "STEPS", 1)


class Machine:
    """A clock, and calls that take as long as they are told."""

    def __init__(self) -> None:
        self.now, self.called = 0.0, list[str]()

    def clock(self) -> float:
        return self.now

    def case(self, name: str, *seconds: float):
        """The last of `seconds` is that of all calls to come."""
        left = list(seconds)

        def call() -> None:
            self.called.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return call


# ----------------------------------------------------------------------------------------------------------------- timing


def test_cases_take_turns():
    fake = Machine()
    cases = {name: fake.case(name, 1.0) for name in "ABC"}
    found = timing.interleave(cases, 3, clock=fake.clock)
    assert "".join(fake.called[3:]) == "ABCABCABC"
    assert found["B"].rounds == [1.0, 1.0, 1.0]


def test_short_calls_are_repeated_within_a_round():
    fake = Machine()
    found = timing.interleave({"A": fake.case("A", 5.0, 0.01)}, 2, least=0.03, clock=fake.clock)
    assert found["A"].calls == 1, "the first call alone tells nothing of the second, and took long"
    fake = Machine()
    found = timing.interleave({"A": fake.case("A", 0.5, 0.01)}, 2, least=0.03, clock=fake.clock)
    assert found["A"].calls == 3
    assert found["A"].rounds == pytest.approx([0.01, 0.01])
    assert len(fake.called) == 2 + 2 * 3


def test_a_case_that_takes_too_long_is_timed_once():
    fake = Machine()
    found = timing.interleave({"A": fake.case("A", 1.0), "slow": fake.case("slow", 9.0)}, 3, slowest=5, clock=fake.clock)
    assert fake.called.count("slow") == 1
    assert found["slow"].rounds == [9.0]
    assert "timed once" in found["slow"].note
    assert timing.ratio(found["slow"], found["A"]) == 9.0


def test_a_ratio_is_the_median_of_the_rounds_ratios():
    a, b = timing.Timing("a", rounds=[2.0, 4.0, 30.0]), timing.Timing("b", rounds=[1.0, 4.0, 10.0])
    assert timing.ratio(a, b) == 2.0  # the medians' ratio is 1
    assert math.isnan(timing.ratio(a, timing.Timing("none")))


# ------------------------------------------------------------------------------------------------------------------ goals


@pytest.mark.parametrize(
    ("choice", "ratios", "extra", "verdict"),
    [
        ("alibi", {2048: 1.25, 4096: 1.1}, {8192: 64.0}, "met"),
        ("alibi", {2048: 1.26, 4096: 1.1}, {8192: 64.0}, "not met: 2048"),
        ("alibi", {2048: 1.0}, {8192: 65.0}, "not met: memory"),
        ("alibi", {2048: 1.0}, {16384: 128.0}, "met"),
        ("alibi", {2048: 1.0}, {16384: 129.0}, "not met: memory"),
        ("alibi", {512: 9.0, 2048: math.nan}, {512: 999.0}, "-"),
        ("fire", {2048: 2.9}, {8192: 500.0, 16384: 1100.0}, "met"),
        ("fire:hidden=8", {2048: 3.1}, {8192: 500.0, 16384: 2000.0}, "not met: 2048, memory"),
    ],
)
def test_a_forward_goal_is_met_or_says_where_not(choice, ratios, extra, verdict):
    assert goals.attention(choice, goals.forward(choice, attention.build(choice)), ratios, extra) == verdict


def test_an_encoding_without_a_goal_has_no_verdict():
    assert goals.forward("none", attention.build("none")) is None
    assert goals.attention("none", None, {2048: 9.0}, {}) == "-"


def test_every_bias_by_distance_has_the_goal_of_its_kind():
    assert goals.forward("t5", attention.build("t5")) == goals.BY_DISTANCE


def test_dtypes_that_differ_each_have_a_verdict():
    assert goals.training({"float32": 1.6, "bfloat16": 1.5}) == "met"
    assert goals.training({"float32": 1.4, "bfloat16": 1.6}) == "float32 not met; bfloat16 met"


def test_goals_and_peers_name_encodings_that_exist():
    named = {*goals.FORWARD, *goals.TRAINED, *goals.LINEAR_ONLY, goals.REFERENCE, *peers.X_TRANSFORMERS}
    assert named <= set(catalog.names("encodings"))


# ----------------------------------------------------------------------------------------------------------------- tables


def attention_row(choice: str, length: int, ratio: float, **more):
    row = {"encoding": choice, "length": length, "ms": 10.0 * ratio, "ratio": ratio, "extra_mb": math.nan, "note": ""}
    return row | {"most": goals.forward(choice, attention.build(choice))} | more


def test_a_row_an_encoding_those_with_a_goal_first():
    rows = [attention_row("cope", 2048, 1.0), attention_row("t5", 2048, 1.3), attention_row("alibi", 2048, 1.1)]
    rows += [attention_row("alibi", 8192, 1.2, extra_mb=30.0), attention_row("t5", 8192, 1.2, extra_mb=70.0)]
    rows += [attention_row("cope", 8192, math.nan, note="not timed")]
    table = attention.table(rows)
    assert [row["encoding"] for row in table.rows] == ["alibi", "t5", "cope"]
    assert table.rows[0] == {"encoding": "alibi", "2048": "1.10x", "8192": "1.20x", "MB at 8192": "30", "goal": "1.25x",
                             "verdict": "met", "note": ""}  # fmt: skip
    assert table.rows[1]["verdict"] == "not met: 2048, memory"
    assert table.rows[2] == {"encoding": "cope", "2048": "1.00x", "8192": "-", "MB at 8192": "-", "goal": "-", "verdict": "-",
                             "note": "8192: not timed"}  # fmt: skip


def peer_row(library: str, setting: str, *rounds: float, note: str = ""):
    case = steps.Case(library, setting, timing.nothing, 1000)
    return training._row("peers", SIZE, "rope", case, timing.Timing("", rounds=list(rounds), note=note))


def test_a_peer_is_shown_in_its_quickest_setting_and_every_setting_in_a_table_of_its_own():
    rows = [peer_row("rpe", "float32", 1.0, 2.0), peer_row("rpe", "bfloat16", 0.5, 1.0)]
    rows += [peer_row("x-transformers", "default", 3.0, 4.0), peer_row("x-transformers", "flash", 1.5, 2.5)]
    rows += [peer_row("x-transformers", "wrong", note="it will not")]
    beside, every = training.peer_tables(rows, ("float32", "bfloat16"))
    (row,) = beside.rows
    assert row["setting"] == "flash"
    assert row["float32 over it"] == "1.38x"  # of 1.5 and 1.25
    assert row["verdict"] == "float32 not met; bfloat16 met"
    assert [line["note"] for line in every.rows] == ["", "", "", "", "it will not"]
    assert every.rows[-1]["tokens"] == "-"


def test_learned_biases_are_sorted_and_only_biases_have_a_goal():
    rows = [peer_row("rpe", "float32", 1.0) | {"encoding": name, "ratio": ratio, "bias": bias}
            for name, ratio, bias in (("shaw", 9.0, False), ("fire", 1.6, True), ("t5", 1.1, True))]  # fmt: skip
    assert [(row["encoding"], row["verdict"]) for row in training.learned_table(rows).rows] == [
        ("t5", "met"), ("fire", "not met"), ("shaw", "-")]  # fmt: skip


def test_evaluation_is_held_against_the_training_of_its_round():
    row = evaluation.time_row(tiny.config(), [10.0, 20.0, 10.0], [3.0, 4.0, 2.0])
    (line,) = evaluation.time_table([row]).rows
    assert (line["share"], line["verdict"]) == ("20%", "met")
    row = evaluation.time_row(tiny.config(), [10.0], [2.1])
    assert evaluation.time_table([row]).rows[0]["verdict"] == "not met"


def test_a_result_is_three_files(tmp_path):
    table = Table("Numbers", [{"case": "a|b", "x": "1", "verdict": "met"}], "How to read it.")
    result = Result("made", {"machine": "M"}, [table], [{"case": "a", "x": 1.0}, {"case": "b", "x": math.nan, "y": [1, 2]}])
    files = result.write(tmp_path / "new")
    assert [path.name for path in files] == ["made.md", "made.csv", "made.json"]
    text = files[0].read_text()
    assert "# rpe bench made\n\n- machine: M\n\n**Numbers**\n\nHow to read it.\n\n| case | x | verdict |" in text
    assert "| --- | ---: | --- |\n| a\\|b | 1 | met |" in text
    rows = list(csv.DictReader(files[1].read_text().splitlines()))
    assert rows == [{"case": "a", "x": "1.0", "y": ""}, {"case": "b", "x": "", "y": "1 2"}]
    assert json.loads(files[2].read_text())["rows"][1] == {"case": "b", "x": None, "y": [1, 2]}


def test_numbers_are_written_for_people():
    assert [number(x, 0) for x in (1234.4, -0.3, None, math.nan)] == ["1,234", "0", "-", "-"]


def test_facts_name_no_host_and_no_path():
    text = json.dumps(machine.facts(CPU, 1, 5))
    assert socket.gethostname() not in text
    assert str(Path.home()) not in text
    assert str(catalog.PACKAGE.parent) not in text
    assert "GiB" in text


# ----------------------------------------------------------------------------------------------------------------- memory


def test_memory_is_that_of_the_call_alone(tmp_path, monkeypatch):
    (tmp_path / "holds.py").write_text(
        "def setting(before, during):\n    kept = b'x' * before\n    return lambda: b'y' * during\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = memory.peak("holds.setting", {"before": 200 * memory.MB, "during": 50 * memory.MB})
    assert 49 < found / memory.MB < 60


def test_a_process_that_fails_or_takes_too_long_says_so(tmp_path, monkeypatch):
    (tmp_path / "fails.py").write_text(
        "import time\n\ndef setting(seconds):\n    time.sleep(seconds)\n    raise MemoryError('no more')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(memory.Failed, match="MemoryError: no more"):
        memory.peak("fails.setting", {"seconds": 0})
    with pytest.raises(memory.Failed, match="not done after"):
        memory.peak("fails.setting", {"seconds": 60}, seconds=0.5)


def test_where_the_peak_cannot_be_forgotten_it_is_that_of_the_whole_process(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "FORGET", tmp_path / "missing" / "clear_refs")
    assert memory.growth(lambda: None) > 10 * memory.MB


def test_every_encoding_can_be_timed(encoding_name):
    assert attention.call_of(encoding_name, 20, CPU)().shape == (1, attention.HEADS, 20, attention.D)


def test_a_length_that_a_shorter_one_foretells_to_be_too_slow_is_left_out():
    rows = [attention_row("cope", 1024, 1.0, ms=1000.0)]
    assert attention.foretold(rows, "cope", 4096) == 16.0
    assert attention.foretold(rows, "t5", 4096) == 0.0
    row = attention.skipped("cope", 4096, 16.0)
    assert "about 16 s" in row["note"]
    assert math.isnan(row["ratio"])


# --------------------------------------------------------------------------------------------------------------- training


def test_the_model_reads_as_many_tokens_as_the_size_says_and_half_of_them_are_scored():
    trainer = train_state.build(steps.config_of(SIZE, "rope"), CPU)
    framed = data.frame(data.train_batch(trainer.task, trainer.config, 5), trainer.config)
    assert framed.inputs_BxT.shape == (SIZE.batch, SIZE.length)
    assert (framed.answer_BxT | framed.end_BxT).sum() == SIZE.batch * steps.scored(SIZE)


def test_operations_are_six_a_weight_and_token_and_those_of_attention():
    trainer = train_state.build(steps.config_of(SIZE, "none"), CPU)
    weights = sum(p.numel() for name, p in trainer.model.named_parameters() if name.startswith("blocks") and p.dim() == 2)
    tokens, head = SIZE.batch * SIZE.length, trainer.model.out.weight.numel()
    pairs = SIZE.batch * SIZE.length**2 / 2  # a score and a value, one multiply-add a channel each
    wanted = 6 * (tokens * weights + SIZE.batch * steps.scored(SIZE) * head + pairs * 2 * SIZE.width)
    assert steps.flops(SIZE, trainer.task.vocabulary) == wanted


def test_the_peak_is_the_product_with_most_operations_a_second(monkeypatch):
    monkeypatch.setattr(training, "SQUARES", (100, 200))
    small, large = timing.Timing("100", rounds=[1.0]), timing.Timing("200", rounds=[7.9])
    assert training.peak({"100": small, "200": large}) == 200
    large.rounds = [8.1]
    assert training.peak({"100": small, "200": large}) == 100


@pytest.mark.parametrize("library", peers.LIBRARIES, ids=lambda library: library.name)
def test_a_peer_is_like_ours_in_every_setting(library):
    if not library.installed:
        pytest.skip(f"{library.name} is not installed")
    size = bench.Size(32, 1, 2, 16, 4)
    for choice in goals.TRAINED:
        mine = steps.ours(size, choice, "float32", CPU).parameters
        for setting in library.settings(choice):
            try:
                case = steps.of_peer(library, setting, size, choice, CPU)
            except AssertionError as refused:  # x-transformers' flash setting has no learned biases
                assert "not compatible" in str(refused)  # noqa: PT017
                continue
            case.step()
            assert abs(case.parameters / mine - 1) < 0.05, f"{choice}, {setting}"


def test_a_setting_that_a_peer_refuses_is_a_note(monkeypatch, quick):
    def build(encoding, setting, size, vocabulary):
        raise AssertionError("never together")

    library = peers.Library("Other", "json", lambda encoding: ["only"], build)
    monkeypatch.setattr(training, "LIBRARIES", [library])
    rows = training.beside_peers(SIZE, "rope", bench.Options(repeats=1, dtypes=("float32",)), CPU, print)
    assert [(row["library"], row["note"]) for row in rows] == [("rpe", ""), ("Other", "never together")]


def test_shares_of_a_step_add_up_and_attention_is_seen_in_both_directions(quick):
    found = breakdown.shares(train_state.build(steps.config_of(SIZE, "rope"), CPU))
    assert sum(found.values()) == pytest.approx(1)
    assert all(found[part] > 0 for part in ("products", "attention", "optimiser", "data"))


def test_what_attention_does_backward_counts_as_attention(monkeypatch):
    monkeypatch.setattr(breakdown, "STEPS", 1)
    seen = {}
    whole = breakdown._by_part

    def watched(events, on_gpu):
        numbers = {event.sequence_nr for event in events if event.sequence_nr >= 0 and breakdown._within(event, ("attention",))}
        seen.update({event.name: breakdown._part(event, numbers) for event in events})
        return whole(events, on_gpu)

    monkeypatch.setattr(breakdown, "_by_part", watched)
    breakdown.shares(train_state.build(steps.config_of(SIZE, "rope"), CPU))
    backward = {part for name, part in seen.items() if "attention" in name.lower() and "backward" in name.lower()}
    assert backward == {"attention"}
    assert seen["aten::mm"] == "products"
    assert seen["aten::_fused_adamw_"] == "optimiser"


# ------------------------------------------------------------------------------------------------------------ the command


def test_attention_of_a_few_tokens(rpe, tmp_path, quick):
    said = rpe("bench", "attention", "--encodings", "t5", "--lengths", 64, "--repeats", 1, "--out", tmp_path)
    assert said.code == 0, said.err
    (row,) = json.loads((tmp_path / "attention.json").read_text())["rows"]
    assert (row["encoding"], row["length"], row["rounds"]) == ("t5", 64, 1)
    assert row["ratio"] > 0
    assert row["extra_mb"] is not None
    assert "| t5 |" in said.out


def test_training_without_peers(rpe, tmp_path, quick, monkeypatch):
    monkeypatch.setattr(peers.Library, "installed", property(lambda self: False))
    said = rpe("bench", "train", "--encodings", "t5", "--sizes", SIZE, "--repeats", 1, "--dtype", "float32", "--out", tmp_path)
    assert said.code == 0, said.err
    rows = json.loads((tmp_path / "train.json").read_text())["rows"]
    assert [(row["table"], row.get("library")) for row in rows] == [
        ("peers", "rpe"), ("peers", "x-transformers"), ("biases", "rpe"), ("where", None)]  # fmt: skip
    assert rows[1]["note"] == "not installed"
    assert rows[3]["share_of_peak"] > 0
    assert "Training beside" not in said.out


def test_evaluation_of_a_run_and_its_memory(rpe, tmp_path, quick):
    path = tiny.trained(tmp_path / "runs")
    before = sorted(each.name for each in path.iterdir())
    said = rpe("bench", "eval", "--run", path, "--lengths", 16, "--repeats", 1, "--out", tmp_path / "out")
    assert said.code == 0, said.err
    time, peak = json.loads((tmp_path / "out" / "eval.json").read_text())["rows"]
    assert time["run"] == path.name
    assert time["share"] > 0
    assert (peak["length"], peak["note"]) == (16, "")
    assert peak["measured_mb"] is not None
    assert sorted(each.name for each in path.iterdir()) == before, "the run itself is left alone"


def test_stacked_seeds_beside_the_others(rpe, tmp_path, quick, monkeypatch):
    monkeypatch.setattr(stacking, "SEEDS", 2)
    monkeypatch.setattr(stacking, "STEPS", 1)
    said = rpe("bench", "stack", "--encodings", "t5", "--sizes", SIZE, "--repeats", 1, "--out", tmp_path)
    assert said.code == 0, said.err
    rows = json.loads((tmp_path / "stack.json").read_text())["rows"]
    assert [row["way"] for row in rows][:2] == ["one after another", "stacked"]
    assert rows[2]["way"].endswith("processes")
    assert rows[0]["gain"] == 1
    assert all(row["step_ms"] > 0 for row in rows)


def test_what_cannot_be_stacked_says_why(monkeypatch):
    monkeypatch.setattr(stacking.stack, "refusal", lambda configs, device: "it cannot")
    (row,) = stacking.seeds_of(SIZE, "rope", bench.Options(repeats=1), CPU)
    (line,) = stacking.table([row], CPU).rows
    assert (line["note"], line["gain"], line["verdict"]) == ("it cannot", "-", "-")


@pytest.mark.parametrize(("device", "verdict"), [("cpu", "met"), ("cuda", "not met")])
def test_stacking_is_to_cost_nothing_on_a_cpu_and_to_gain_on_a_gpu(device, verdict):
    once, half = timing.Timing("", rounds=[2.0]), timing.Timing("", rounds=[1.0])
    rows = [stacking._row(SIZE, "rope", stacking.STACKED, half, once), stacking._row(SIZE, "rope", "8 processes", half, once)]
    lines = stacking.table(rows, torch.device(device)).rows
    assert [(line["gain"], line["verdict"]) for line in lines] == [("2.00x", verdict), ("2.00x", "-")]


def test_without_a_name_three_benchmarks_run_in_short(rpe, tmp_path, monkeypatch):
    asked = []

    def measure(name, options, say):
        asked.append((name, options.short))
        return Result(name, {})

    monkeypatch.setattr(bench, "measure", measure)
    assert rpe("bench", "--out", tmp_path).code == 0
    assert asked == [("attention", True), ("train", True), ("eval", True)]


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
def test_a_mistake_is_said_with_its_remedy(rpe, tmp_path, words, remedy):
    said = rpe("bench", *words, "--out", tmp_path)
    assert said.code == 2
    assert remedy in said.err
    assert not list(tmp_path.iterdir())
