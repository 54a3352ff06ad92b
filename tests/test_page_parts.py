"""Parts of a page: definitions of encodings, answers of models, weight of copying heads, what to use, glossary."""

import json
from pathlib import Path

import pytest
from helpers.fake_runs import fake_run, fake_study
from helpers.run_folders import add_inspection, write_run

from rpecli.report import attention_cost, glossary
from rpecli.report.aggregate import aggregate
from rpecli.report.answers import padded, pieces, task_answers
from rpecli.report.build import report_content
from rpecli.report.copy_weight import copy_weight
from rpecli.report.definitions import definitions, kernel_of, names_in
from rpecli.report.tables import choice

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("rope", ["rope"]),
        ("rope:scaling=yarn", ["rope"]),
        ("rope:then=none", ["rope", "none"]),
        ("rope+alibi", ["rope", "alibi"]),
    ],
)
def test_the_encodings_of_a_choice(text, names) -> None:
    assert names_in(text) == names


def test_a_definition_is_what_the_file_states() -> None:
    (alibi,) = definitions(["alibi:learned=true", "alibi"]).values()
    assert (alibi.title, alibi.id, alibi.facts.group) == ("ALiBi", "encoding-alibi", "RPE")
    assert alibi.formula == "logit_ij = q_i . k_j / sqrt(D) - m_h |i-j|,  m_h = 2^(-8h/H), h = 1..H  (paper, section 3)"
    assert alibi.address == "https://arxiv.org/abs/2108.12409"
    assert alibi.paper.endswith("(2021)")


def test_an_encoding_that_is_not_here_has_no_definition(tmp_path) -> None:
    mine = tmp_path / "mine.py"
    assert definitions([str(mine)]) == {}
    mine.write_text(
        '"""My own encoding."""\nfrom rpecli.encoding import Encoding\n\n\nclass Mine(Encoding):\n    group = "RPE"\n'
    )
    (own,) = definitions([str(mine)]).values()
    assert (own.facts.summary, own.address) == ("My own encoding.", None)


def test_the_kernel_of_several_encodings_is_the_dearest() -> None:
    known = definitions(["rope+fire", "t5"])
    assert [kernel_of(text, known) for text in ("rope", "rope+fire", "t5+rope", "alibi")] == ["plain", "rows", "distance", None]


def test_pieces_are_right_or_wrong_and_stand_below_the_target() -> None:
    assert pieces("abcd", "abxy", 1) == [(False, "ab"), (True, "xy")]
    target, answer = ["1", "22", "333"], ["1", "9", "333"]
    own = pieces(target, answer, 3)
    assert own == [(False, "1   "), (True, "9"), (False, "   333 ")]
    assert "".join(text for _, text in own).rstrip() == "1   9   333"
    assert padded(target, 3) == "1   22  333"


def with_example(encoding: str, seed: int, answer: str, target: str = "abcd", score: float = 0.5):
    run = fake_run(encoding, seed, {16: 1.0, 32: score, 64: score})
    run.evaluations[32]["example"] = {"prompt": list(target), "target": list(target), "answer": list(answer)}
    return run


def test_answers_are_those_of_the_first_seed_the_best_encoding_first() -> None:
    runs = [
        with_example("rope", 0, "abcx", score=0.4),
        with_example("rope", 1, "xxxx", score=0.4),
        with_example("alibi", 0, "abcd"),
    ]
    (answers,) = task_answers(aggregate(runs))
    assert (answers.title, answers.first.length, answers.first.factor, answers.others) == ("Copy", 32, "2x", [])
    assert (answers.first.prompt, answers.first.target) == ("abcd", "abcd")
    assert [(one.title, one.seed, one.n_right) for one in answers.first.answers] == [("ALiBi", 0, 4), ("RoPE", 0, 3)]


def test_an_answer_to_another_sequence_is_left_out() -> None:
    (answers,) = task_answers(aggregate([with_example("alibi", 0, "abcd"), with_example("rope", 0, "wxyz", "wxyz", score=0.1)]))
    assert [one.title for one in answers.first.answers] == ["ALiBi"]


def test_without_examples_there_are_no_answers() -> None:
    assert task_answers(fake_study({"rope": [0.5]})) == []


def inspected(folder: Path, shares: dict[str, float]) -> Path:
    for name, share in shares.items():
        add_inspection(write_run(folder, {16: 1.0, 32: 0.5}, encoding=name).path, share)
    return folder


def test_the_weight_of_copying_heads_is_told_from_the_training_length_on(tmp_path) -> None:
    folder = inspected(tmp_path / "runs", {"rope": 0.9, "alibi": 0.6})
    weight = report_content(sorted(folder.iterdir()), "mine").copy_weight
    assert weight.sentence == (
        "On Copy, the strongest head that attends n tokens back (n: the length of the problem) gives that token this share of "
        "its attention, from 1x to 2x: ALiBi 60 % to 25 %, RoPE 90 % to 25 %."
    )


def test_one_encoding_with_a_copying_head_is_no_comparison(tmp_path) -> None:
    content = report_content(sorted(inspected(tmp_path / "runs", {"rope": 0.9}).iterdir()), "mine")
    assert content.copy_weight is None
    assert copy_weight([]) is None


def test_what_to_use_counts_parameters_from_no_encoding_on() -> None:
    counts = {"none": 1000, "t5": 1128, "rope": 1000}
    tasks = aggregate([fake_run(name, 0, {16: 1.0, 32: 0.5}, parameters=count) for name, count in counts.items()])
    table = choice.table(tasks, [], definitions(counts))
    needs = {row[0]: (row[-3], row[-1]) for row in table.rows}
    assert needs == {"NoPE": ("0", "no"), "T5 bias": ("128", "distance"), "RoPE": ("0", "no")}
    assert table.columns[-3:] == ["parameters beyond NoPE", "attention time", "special kernel"]


def test_what_to_use_has_the_time_of_attention_from_the_shipped_benchmark() -> None:
    """Timed in turn with plain attention; a choice with options was not timed."""
    names = ["none", "rope", "rope:scaling=yarn"]
    tasks = aggregate([fake_run(name, 0, {16: 1.0, 32: 0.5}) for name in names])
    table, cost = choice.table(tasks, [], definitions(names)), attention_cost.read()
    times = {row[0]: row[table.columns.index("attention time")] for row in table.rows}
    assert times == {"NoPE": f"{cost.ratio['none']:.2f}x", "RoPE": f"{cost.ratio['rope']:.2f}x", "RoPE (scaling=yarn)": "-"}
    assert cost.note in table.caption
    assert 0.8 < cost.ratio["none"] < 1.2


def test_the_shipped_cost_of_attention_is_that_of_the_shipped_benchmark(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "scripts"))
    import attention_cost as script

    assert script.costs(json.loads(script.BENCH.read_text())) == json.loads(attention_cost.FILE.read_text())


def test_encodings_that_learned_in_no_more_than_half_of_their_runs_are_not_recommended() -> None:
    runs = [fake_run("none", seed, {16: float(seed == 0), 32: 0.9}) for seed in range(2)]
    runs += [fake_run("rope", seed, {16: float(seed < 2), 32: 0.6}) for seed in range(3)]
    runs += [fake_run("alibi", 0, {16: 1.0, 32: 0.4})]
    advice = choice.advice(choice.table(aggregate(runs), [], definitions(["none", "rope", "alibi"])))
    assert advice == (
        "Highest mean beyond training: RoPE (60 %; 2 of 3 runs learned the training length), then ALiBi (40 %). Without a "
        "special kernel: RoPE (60 %; 2 of 3 runs learned the training length). Not recommended: NoPE (90 %; 1 of 2 runs "
        "learned the training length)."
    )


def test_what_to_use_counts_all_parameters_where_nothing_is_without_an_encoding() -> None:
    tasks = fake_study({"rope": [0.5], "alibi": [0.9]})
    table = choice.table(tasks, [], definitions(["rope", "alibi"]))
    assert table.columns[-3] == "parameters"
    rows = [[cell for number, cell in enumerate(row) if table.columns[number] != "attention time"] for row in table.rows]
    assert rows == [["ALiBi", "RPE", "90", "1/1", "1,000", "distance"], ["RoPE", "RPE", "50", "1/1", "1,000", "no"]]
    advice = "Highest mean beyond training: ALiBi (90 %), then RoPE (50 %). Without a special kernel: RoPE (50 %)."
    assert choice.advice(table) == advice
    assert choice.advice(choice.table(fake_study({"rope": [0.5]}), [], {})) == ""


def test_the_glossary_of_a_page_is_that_of_the_docs() -> None:
    assert glossary.FILE.read_text() == (DOCS / "glossary.md").read_text()
    terms = glossary.terms()
    assert len(terms) == (DOCS / "glossary.md").read_text().count("\n## ")
    assert '<a href="#term-solved">solved</a>' in terms["In-distribution"]
    assert terms["Kernel"].count("<li><b>") == 5
