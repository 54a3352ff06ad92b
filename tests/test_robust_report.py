"""Text of users, files and other machines in every place that it is written to: nothing in it is obeyed, nothing is lost."""

# ruff: noqa: RUF001 - characters that look alike are what these tests are about

import csv
import io
import json
import math
import os
import re
import shutil
from html.parser import HTMLParser

import pytest
from helpers.command import ENCODING
from helpers.run_folders import make_run
from hypothesis import given, settings
from hypothesis import strategies as st

from rpecli.cli import _output
from rpecli.escape import (
    ascii_text,
    csv_text,
    fenced,
    finite,
    html,
    html_attribute,
    json_text,
    latex,
    markdown,
    markdown_cell,
    name_problem,
    visible,
)
from rpecli.report import build
from rpecli.report.load import ReportError
from rpecli.report.write import text as summaries
from rpecli.table import Table, whole_percent

PIECES = [
    *(
        "`",
        "``",
        "|",
        "\\",
        "[x](y)",
        "[a]",
        "]:",
        "<script>",
        "<!--",
        "&lt;",
        "*a*",
        "_b_",
        "~~",
        "$x$",
        "# ",
        "- ",
        "1. ",
        "> ",
    ),
    *(
        "> ",
        "===",
        "\n",
        "\r\n",
        "\r",
        "\t",
        "\x1b[31m",
        "\x00",
        "\x07",
        "\u202e",
        "\u2028",
        "\ud800",
        "{",
        "}",
        "%",
        "^",
        "\\input",
    ),
    *(
        "é",
        "ж",
        "日",
        "😀",
        "θ",
        "▁█",
        "…",
        "→",
        "“",
        '"',
        "'",
        ",",
        ";",
        "=1+1",
        "[/red]",
        "[bold]",
        "/",
        "..",
        "a",
        " ",
        "0.5",
        "-3",
    ),
]
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=8).map("".join)
VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
                      lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))  # fmt: skip
SHOWN = re.compile(r"[^\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]*")
LATEX_WORDS = "textbackslash textasciitilde textasciicircum textsuperscript texttt times cdot pm leq geq rightarrow leftarrow"
LATEX_COMMANDS = r"\\(" + LATEX_WORDS.replace(" ", "|") + r"|circ|ldots|ss|ae|o|O|l|[`'^~=u.\"rHvc&%$#_{}])"


class Page(HTMLParser):
    """The tags and the text of some HTML."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.tags, self.text, self.attributes = [], "", []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


@given(TEXTS)
def test_nothing_that_is_shown_can_be_obeyed(text):
    assert SHOWN.fullmatch(visible(text))
    assert visible("1\t2\n3") == "1 2\n3"
    assert visible("\x1b[31mred") == "\N{REPLACEMENT CHARACTER}[31mred"


@given(TEXTS)
def test_an_ascii_terminal_gets_ascii_alone(text):
    assert ascii_text(text).isascii()
    assert ascii_text("▁█ … → “é” θ ж ⠀⠉⣀⣿") == '_# ... -> "e" theta ?  \'.:'


@given(TEXTS)
def test_html_shows_the_text_and_holds_no_other_element(text):
    page = Page(html(text))
    assert set(page.tags) <= {"code", "sup"}
    marks = re.sub(r" ?\[([a-z]{1,2})\]", r"\1", visible(text))
    assert page.text.replace("`", "") == marks.replace("`", "") or "`" in text  # code stands without its quotes
    element = Page(f'<p title="{html_attribute(text)}">x</p>')
    assert (element.tags, element.attributes) == (["p"], [("title", visible(text))])


@given(TEXTS)
def test_latex_is_ascii_with_balanced_braces_and_known_commands(text):
    written = latex(text)
    assert written.isascii()
    bare = re.sub(LATEX_COMMANDS, "", written)
    assert "\\" not in bare
    assert not set(bare) & set("&%#_")
    assert bare.replace("$^$", "").count("^") == len(re.findall(r"10\^\{", bare))
    depth = 0
    for character in re.sub(r"\\[{}]", "", written):
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    assert re.sub(r"\\\$", "", written).count("$") % 2 == 0


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("Müller", r"M{\"{u}}ller"),
        ("жук", "U+0436U+0443U+043A"),
        ("a…b", r"a\ldots{}b"),
        ("2 × 3", r"2 $\times$ 3"),
        ("a\nb", "a b"),
    ],
)
def test_latex_writes_characters_that_pdflatex_lacks_by_command_or_number(text, written):
    assert latex(text) == written


def test_a_row_of_latex_that_begins_with_a_bracket_or_a_star_belongs_to_no_command_before_it():
    rows = [["[red]", "1"], ["*", "2"], ["c", "3"]]
    lines = Table("t", ["[0,1]", "n"], "lr", rows).latex().splitlines()
    assert [line for line in lines if line.startswith("{}")] == [r"{}[0,1] & n \\", r"{}[red] & 1 \\", r"{}* & 2 \\"]


def rendered_cells(line: str) -> int:
    """How many cells GitHub's reader takes from a line of a table."""
    return len(re.sub(r"\\.", "", line).strip().strip("|").split("|"))


@given(TEXTS, TEXTS, TEXTS)
def test_a_markdown_table_keeps_its_columns_whatever_it_holds(first, second, caption):
    table = Table(first, ["a", second], "ll", [[first, second], [second, first]], caption=caption, footnotes=[first])
    for padded in (True, False):
        lines = [line for line in table.markdown(padded=padded).splitlines() if line.startswith("|")]
        assert [rendered_cells(line) for line in lines[:4]] == [2, 2, 2, 2]
    assert len(table.markdown(level=2).splitlines()) <= 11


@given(TEXTS)
def test_markdown_holds_no_tag_no_link_and_no_block_of_a_text(text):
    written = markdown(text)
    assert "\n" not in written
    outside = re.sub(r"`[^`]+`", "code", re.sub(r"\\[^A-Za-z0-9\s]", "_", written))
    assert not re.search(r"<[A-Za-z/!?]|\]\(|\]\[|`", outside)
    assert not re.match(r"(#{1,6}|[-+*]|\d+[.)])(\s|$)|>|=+\s*$|-+\s*$", outside)
    assert markdown(written) is written


def test_markdown_escapes_what_would_be_markup_and_leaves_the_rest():
    assert markdown("a_b is 50 % [4, 13], `x|y`") == "a_b is 50 % [4, 13], `x|y`"
    assert markdown_cell("`x|y` | z") == r"`x\|y` \| z"
    assert markdown("<script> _a_ [x](y) ` 1") == r"\<script> \_a\_ [x\](y) \` 1"
    assert markdown("- a") == r"\- a"
    assert markdown("12. a") == r"12\. a"


@given(TEXTS)
def test_a_fence_is_longer_than_what_it_holds(text):
    first, *inner, last = fenced(text, "sh").split("\n")
    assert first == last + "sh"
    assert not any(last in line for line in inner)


@given(VALUES)
def test_json_is_strict_and_parses_back(value):
    assert json.loads(json_text(value), parse_constant=lambda name: pytest.fail(name)) == json.loads(json.dumps(finite(value)))
    assert json.loads(json_text({"nll": math.nan, "by": [math.inf, 1.5]})) == {"nll": None, "by": [None, 1.5]}


@given(st.lists(st.tuples(TEXTS, TEXTS | st.integers() | st.floats()), min_size=1, max_size=3))
def test_csv_parses_back_to_the_values(rows):
    written = csv_text([dict(zip(("a", "b,"), row, strict=True)) for row in rows])
    lines = list(csv.reader(io.StringIO(written, newline="")))
    assert lines == [["a", "b,"], *([_cell(value) for value in row] for row in rows)]


def _cell(value: object) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return ""
    return re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", str(value))


@given(TEXTS)
def test_a_name_that_is_allowed_names_one_new_folder(text):
    if name_problem(text) is None:
        assert text.strip(". ")
        assert not set(text) & set("/\\\x00\n")
    for bad in ("", ".", "..", "...", "a/b", "a\\b", "a\x00", "a\nb", "x" * 201):
        assert name_problem(bad)
    for good in ("a", "lengths-2", "a.b", "Ж", "a b"):
        assert name_problem(good) is None


@given(TEXTS)
def test_a_terminal_table_shows_markup_as_text(text):
    from rich.console import Console

    console = Console(file=io.StringIO(), width=400, force_terminal=True, color_system=None)
    console.print(Table("[red]t", ["a"], "l", [[f"x[bold]{text}[/y]z"]], caption="[/boom]"))
    shown = console.file.getvalue()
    assert "[red]t" in shown
    assert "x[bold]" in shown
    assert "[/boom]" in shown
    assert not set(shown) & {"\x1b", "\x07", "\u202e"}


def test_streams_that_cannot_show_unicode_get_ascii(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="ascii"))
    _output.show_ascii_where_needed()
    _output.say("▁█ \x1b[31m “x” …")
    _output.print_tables(Table("t…", ["é"], "l", [["→"]]))
    assert written.getvalue().decode("ascii").splitlines()[0] == '_# ?[31m "x" ...'


def test_a_share_that_is_no_number_is_written_as_such():
    assert [whole_percent(share) for share in (0.5, None, math.nan, math.inf)] == ["50", "-", "nan", "inf"]


HOSTILE = "a|b`c*_<script>alert(1)</script>[x](y)\x1b[31m\r\n$z$ [/red] é ж \u202e # 1. "


def test_a_foreign_run_with_markup_in_every_text_is_reported_as_text(tmp_path):
    info = {"study": HOSTILE, "machine": HOSTILE, "commit": HOSTILE, "device": HOSTILE, "versions": {HOSTILE: HOSTILE}}
    paths = [make_run(tmp_path / "a <b> `c` [x](y)", {16: 1.0, 32: 0.5}, seed=seed, info=info) for seed in (0, 1)]
    failed = make_run(tmp_path, {}, seed=2, info=info | {"status": "failed", "error": HOSTILE})
    report = build.build_report([*paths, failed], "mine", tmp_path / "results", f"rpe report {HOSTILE}")
    files = {path.name: path.read_bytes().decode() for path in report.files if path.suffix not in (".png", ".pdf")}
    page = Page(files["report.html"])
    assert page.tags.count("script") == 1
    assert "alert(1)" in page.text
    for name in files.keys() - {"report.json", "runs.csv"}:  # data, which programs get back as it was
        assert not set(files[name]) & {"\x1b", "\u202e"}, name
    prose = re.sub(r"\\[^\w\s]", "", re.sub(r"(?ms)^(`{3,}).*?^\1$", "", files["report.md"]))
    tags = set(re.findall("<[A-Za-z/!?][^>]*>", re.sub(r"`[^`\n]+`", "", prose)))
    assert tags == {"<details>", "</details>", "<summary>", "</summary>"}
    assert files["paper.tex"].isascii()
    assert files["appendix.tex"].isascii()
    rows = list(csv.DictReader(io.StringIO(files["runs.csv"], newline="")))
    assert {row["machine"] for row in rows} == {HOSTILE}
    assert json.loads(files["report.json"])["runs"][0]["study"] == HOSTILE


SHARE = st.floats(0, 1)
NUMBER = st.none() | st.floats(-1e9, 1e9)
RESULT = st.fixed_dictionaries({
    "lengths": st.lists(st.sampled_from([4, 16, 24, 32, 64, 128]), unique=True, max_size=4), "share": SHARE, "chance": SHARE,
    "nll": NUMBER, "n": st.integers(1, 300), "fingerprint": st.sampled_from(["one", "two"]), "seed": st.integers(0, 3),
    "encoding": st.sampled_from(["rope", "learned", "none"]), "override": st.sampled_from([None, "none"]),
    "status": st.sampled_from(["trained", "failed", "stopped"]),
})  # fmt: skip


@settings(max_examples=int(os.environ.get("RPE_EXAMPLES", 12)))  # each writes and reads some runs
@given(st.lists(RESULT, min_size=1, max_size=6, unique_by=lambda result: (result["encoding"], result["seed"])))
def test_random_results_are_reported_or_refused_in_words(tmp_path_factory, results):
    folder = tmp_path_factory.mktemp("random")
    paths = []
    for result in results:
        line = {"chance": result["chance"], "nll": result["nll"], "n": result["n"], "encoding_override": result["override"]}
        line |= {"fingerprint": result["fingerprint"]}
        shares = dict.fromkeys(sorted(result["lengths"]), result["share"])
        paths.append(make_run(folder, shares, encoding=result["encoding"], seed=result["seed"], line=line,
                              info={"status": result["status"]}))  # fmt: skip
    if not any(result["lengths"] and result["status"] == "trained" for result in results):
        with pytest.raises(ReportError, match="no run is evaluated"):
            build.report_content(paths, "mine")
        return
    content = build.report_content(paths, "mine")
    assert json.loads(json_text(content.data))["runs"]
    assert all(table.markdown() and table.latex().isascii() and table.html() for table in content.all_tables)
    assert summaries.summary(content, 80)


def test_a_run_whose_code_is_gone_is_reported_from_its_record(tmp_path):
    (tmp_path / "mine.py").write_text(ENCODING)
    path = make_run(tmp_path / "runs", {16: 1.0, 32: 0.5}, encoding=tmp_path / "mine.py")
    shutil.rmtree(path / "code")
    (tmp_path / "mine.py").unlink()
    content = build.report_content([path, make_run(tmp_path / "runs", {16: 1.0, 32: 0.25})], "mine")
    assert [encoding.title.split(",")[0] for encoding in content.tasks[0].encodings] == ["mine", "RoPE"]
    assert not [warning for warning in content.warnings if "left out" in warning]


def test_a_damaged_curve_or_probe_costs_that_alone(tmp_path):
    paths = [make_run(tmp_path, {16: 1.0, 32: 0.5}, seed=seed) for seed in (0, 1)]
    (paths[0] / "metrics.jsonl").write_text("garbage\n")
    (paths[1] / "probes.jsonl").write_text('{"probe": 5}\n')
    content = build.report_content(paths, "mine")
    assert [run.config.seed for run in content.tasks[0].encodings[0].evaluated_runs] == [0, 1]
    assert sum("metrics.jsonl:1" in warning or "probes.jsonl:1" in warning for warning in content.warnings) == 2


def test_the_same_problem_of_many_runs_is_told_once(tmp_path):
    paths = [make_run(tmp_path, {16: 1.0}, seed=seed) for seed in range(9)]
    for path in paths[:7]:
        (path / "eval.jsonl").write_text("garbage\n")
    told = [
        warning for warning in build.report_content(paths, "mine").warnings if "left out" in warning or "other runs" in warning
    ]
    assert len(told) == 2
    assert told[1] == "and the same for 6 other runs"


@pytest.mark.parametrize("place", ["file", "link"])
def test_a_report_is_refused_before_anything_where_it_cannot_be_written(tmp_path, place):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ReportError, match=r"cannot be written \(.* is not a folder\): choose another folder"):
        build.check_place("mine", tmp_path / place)
    build.check_place("mine", tmp_path / "new" / "deep")
