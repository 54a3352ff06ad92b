"""Tables for a paper: what paper.tex says of made-up results, and that both files compile without errors and overfull boxes.

RPE_LATEX=required makes a missing pdflatex a failure.
"""

import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.fake_runs import fake_run
from helpers.run_folders import make_run

from rpecli.report import build
from rpecli.report.aggregate import aggregate
from rpecli.report.content import ReportContent
from rpecli.report.load import NothingMatchesError, ReportError, RunResults
from rpecli.report.write import latex

OVERFULL = re.compile(r"Overfull \\hbox \((\d+(?:\.\d+)?)pt")
DOCUMENT = r"""\documentclass[10pt%(columns)s]{article}
\usepackage[paperwidth=8.5in,paperheight=11in,textwidth=%(width)s,textheight=9in,columnsep=0.25in]{geometry}
\usepackage{booktabs,graphicx}
\begin{document}
Before. \input{paper} After.
\clearpage
\input{appendix}
\end{document}
"""


def content(scores: dict[str, list[float]], tasks: tuple[str, ...] = ("copy",)) -> ReportContent:
    runs = [fake_run(encoding, seed, {16: 1.0, 32: score, 64: score / 2}, task=task)
            for encoding, by_seed in scores.items() for seed, score in enumerate(by_seed) for task in tasks]  # fmt: skip
    return ReportContent("a_b", None, runs, [], aggregate(runs), {}, {}, [], [], [])


def rows(text: bytes) -> dict[str, list[str]]:
    lines = [line.removesuffix(r" \\").split(" & ") for line in text.decode().splitlines() if " & " in line]
    return {line[0]: line[1:] for line in lines}


def test_a_cell_is_the_mean_with_its_interval_and_the_best_is_bold() -> None:
    text = latex.paper(content({"alibi": [0.9, 0.9, 0.9], "rope": [0.5, 0.6, 0.7], "learned": [0.2]}))
    table = rows(text)
    assert list(table)[2:] == ["ALiBi", "RoPE", "Learned"]
    assert table["encoding"] == ["32 (2x)"]
    assert table["ALiBi"] == [r"\textbf{90} {\scriptsize[90, 90]}"]
    assert table["RoPE"] == [r"60 {\scriptsize[35, 85]}"]  # t with 2 degrees of freedom: 4.303 x 0.1 / sqrt(3)
    assert table["Learned"] == ["20"]  # one seed has no interval
    assert rb"\label{tab:a-b}" in text
    assert b"1 to 3 seeds with 95 \\% interval" in text


def test_the_length_is_the_one_asked_for() -> None:
    results = content({"alibi": [0.8, 0.8, 0.8]})
    assert rows(latex.paper(results, factor=4))["encoding"] == ["64 (4x)"]
    assert rows(latex.paper(results, factor=4))["ALiBi"] == [r"\textbf{40} {\scriptsize[40, 40]}"]
    assert b"no run was evaluated" in latex.paper(results, factor=3)


def test_more_tasks_than_fit_stand_below_each_other() -> None:
    text = latex.paper(content({"alibi": [0.8] * 3, "rope": [0.7] * 3}, ("copy", "sort", "parity", "recall", "reverse"))).decode()
    assert text.count("ALiBi") == text.count("RoPE") == 2
    assert text.count(r"\begin{tabular}") == 1
    assert {len(line.split(" & ")) for line in text.splitlines() if " & " in line} == {4}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven encodings on six tasks, three seeds, with a name that LaTeX would take for commands."""
    folder = tmp_path_factory.mktemp("latex")
    names = ["none", "learned", "sinusoidal", "rope", "alibi", "t5", "fire"]
    tasks = ["copy", "sort", "parity", "recall", "reverse", "sort:distinct=true:symbols=150"]
    paths = [
        make_run(folder, {16: 1.0, 32: 0.9 - number / 10 + seed / 100, 64: 1e-9}, encoding=name, seed=seed, info={"task": task},
                 task=task)
        for number, name in enumerate(names) for seed in range(3) for task in tasks
    ]  # fmt: skip
    return build.build_report(paths, "50% a_b", folder / "results").files[0].parent


@pytest.mark.parametrize(("columns", "width"), [(",twocolumn", "6.75in"), ("", "5.5in")], ids=["icml", "neurips"])
def test_both_files_compile(columns: str, width: str, report: Path, tmp_path: Path) -> None:
    if not shutil.which("pdflatex"):
        assert os.environ.get("RPE_LATEX") != "required", "no pdflatex here: apt-get install texlive-latex-recommended"
        pytest.skip("no pdflatex here")
    for name in ("paper.tex", "appendix.tex"):
        shutil.copy(report / name, tmp_path)
    (tmp_path / "main.tex").write_text(DOCUMENT % {"columns": columns, "width": width})
    done = subprocess.run(["pdflatex", "-interaction=nonstopmode", "main"], cwd=tmp_path, capture_output=True, text=True)
    log = (tmp_path / "main.log").read_text(errors="replace")
    assert done.returncode == 0, log[-3000:]
    assert not re.findall("^!.*", log, re.MULTILINE)
    assert [size for size in OVERFULL.findall(log) if float(size) > 5] == []
    assert "multiply defined" not in log
    assert (tmp_path / "main.pdf").stat().st_size > 10_000


def test_a_length_that_was_not_evaluated_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = make_run(tmp_path / "runs", {16: 1.0, 32: 0.5})
    with pytest.raises(ReportError, match=r"--at 7x: no task was evaluated at that multiple of its length: there are 1x, 2x"):
        build.build_report([path], "x", tmp_path / "results", paper=build.Paper(factor=7.0))
    assert not (tmp_path / "results").exists()


def test_tasks_without_the_length_that_is_asked_for_are_said(tmp_path: Path) -> None:
    paths = [make_run(tmp_path / "runs", {16: 1.0, 32: 0.5}), make_run(tmp_path / "runs", {16: 1.0, 64: 0.5}, task="sort")]
    report = build.build_report(paths, "x", tmp_path / "results", paper=build.Paper(factor=2.0))
    (warning,) = [one for one in report.content.warnings if "paper.tex" in one]
    assert warning == "paper.tex leaves out Sort: not evaluated at 2x: rpe eval --lengths 2x"
    assert warning in report.markdown


def test_a_multiple_is_rounded_as_in_lengths() -> None:
    (task,) = content({"rope": [0.5]}).tasks
    assert latex.length_of(replace(task, train_length=10, lengths=[10, 11]), 1.1) == 11


def test_ours_is_on_top_and_compared_with_each_other_encoding() -> None:
    text = latex.paper(content({"alibi": [0.8, 0.8, 0.8], "rope": [0.5, 0.6, 0.7], "learned": [0.1, 0.2, 0.3]}), ours="rope")
    lines = [line for line in text.decode().splitlines() if " & " in line]
    assert [line.split(" & ")[0] for line in lines] == [
        "",
        "encoding",
        "RoPE",
        "ALiBi",
        "Learned",
        "RoPE against",
        "ALiBi",
        "Learned",
    ]
    above, below = (line.removesuffix(r" \\").split(" & ")[1:] for line in lines[-2:])
    assert above[0].startswith("$-$15")  # the area over 32 and 64, where scores are 0.6 and 0.3 against 0.8 and 0.4
    assert below[0].startswith("+30")
    assert above[1] == below[1] == "0.500"  # the smallest p of three pairs is 0.25, times two tests


def test_the_caption_counts_the_seeds_of_the_length_that_is_shown() -> None:
    assert "mean over 2 seeds, " in latex.paper(content({"alibi": [0.8, 0.8], "rope": [0.5, 0.6]})).decode()
    runs = [fake_run("rope", seed, {16: 1.0, 32: 0.5, 64: 0.2}) for seed in (0, 1)]
    runs += [fake_run("alibi", seed, {16: 1.0, **({} if seed else {32: 0.5}), 64: 0.2}) for seed in (0, 1)]
    assert "mean over 1 to 2 seeds, " in latex.paper(content_of(runs)).decode()


def content_of(runs: list[RunResults]) -> ReportContent:
    return ReportContent("a_b", None, runs, [], aggregate(runs), {}, {}, [], [], [])


def test_a_name_that_no_encoding_has_is_told(report: Path) -> None:
    with pytest.raises(build.ReportError, match="--ours fier: no encoding of these runs: did you mean fire"):
        build.build_report([path for path in (report.parents[1]).iterdir() if (path / "run.json").is_file()], "x", report.parent,
                           paper=build.Paper(ours="fier"))  # fmt: skip


@pytest.mark.parametrize(("factor", "where"), [(None, "beyond the training length: rpe eval --lengths 2x"),
                                               (2.0, "at 2x: rpe eval --lengths 2x")])  # fmt: skip
def test_ours_without_a_task_of_the_length_is_told(factor: float | None, where: str, tmp_path: Path) -> None:
    paths = [
        make_run(tmp_path / "runs", {16: 1.0, 32: 0.5}),
        make_run(tmp_path / "runs", {16: 1.0}, encoding="alibi", task="sort"),
    ]
    with pytest.raises(NothingMatchesError, match=f"^--ours alibi: none of its tasks was evaluated {where}$"):
        build.build_report(paths, "x", tmp_path / "results", paper=build.Paper(factor, "alibi"))
    assert not (tmp_path / "results").exists()


def test_ours_has_no_second_table_where_there_is_nothing_to_compare_it_with() -> None:
    alone = content({"rope": [0.5, 0.6, 0.7]})
    not_beyond = content_of([fake_run("rope", 0, {16: 1.0}), fake_run("alibi", 0, {16: 1.0, 32: 0.5})])
    other_seed = content_of([fake_run("rope", 1, {16: 1.0, 32: 0.5}), fake_run("alibi", 0, {16: 1.0, 32: 0.5})])
    for one in (alone, not_beyond, other_seed):
        text = latex.paper(one, ours="rope").decode()
        assert "RoPE" in text
        assert "against" not in text
        assert "Below" not in text


def test_ours_is_compared_by_the_measure_of_its_own_tasks(tmp_path: Path) -> None:
    makes = {("copy", "rope"): 0.9, ("text", "alibi"): 0.5, ("text", "t5"): 0.3}
    paths = [make_run(tmp_path / "runs", {16: 1.0, 32: score}, task=task, encoding=encoding, seed=seed)
             for (task, encoding), score in makes.items() for seed in range(3)]  # fmt: skip
    report = build.build_report(paths, "x", tmp_path / "results", paper=build.Paper(ours="alibi"))
    text = latex.paper(report.content, ours="alibi")
    head, row = (line.split(" & ") for line in text.decode().splitlines()[-6:] if " & " in line)
    assert (head[:2], row[0]) == (["ALiBi against", r"difference (\% of perplexity)"], "T5 bias")
