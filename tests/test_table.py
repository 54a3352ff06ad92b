"""One table in four formats: escaping, alignment, widths, footnotes."""

import io

import pytest
from rich.console import Console

from rpecli.escape import latex, markdown_cell
from rpecli.table import Footnotes, Table, letter, sort_key

SPECIAL = Table(
    "a_b & 50 %", ["x_1", "n"], "lr", [["t5:a|b~^ [a]", "< 0.01 (0.00 to 0.50)"]], [[False, True]], "c#$\\", ["[a] {x}"]
)


def shown(table: Table, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_padded_markdown_has_columns_of_one_width_and_numbers_to_the_right() -> None:
    table = Table("", ["name", "n"], "lr", [["a", "1"], ["longer", "1000"]])
    assert table.markdown().splitlines() == [
        "| name   |    n |",
        "| :----- | ---: |",
        "| a      |    1 |",
        "| longer | 1000 |",
    ]
    assert table.markdown(padded=False).splitlines() == ["| name | n |", "| --- | ---: |", "| a | 1 |", "| longer | 1000 |"]


def test_markdown_has_a_title_a_caption_and_footnotes() -> None:
    assert SPECIAL.markdown(level=2).splitlines()[:2] == ["## a_b & 50 %", ""]
    assert SPECIAL.markdown().splitlines()[0] == "**a_b & 50 %**"
    assert SPECIAL.markdown().endswith("\n\nc#\\$\\\\\n\n[a] {x}")


def test_a_folded_table_is_hidden_in_markdown_until_it_is_opened() -> None:
    folded = Table("t", ["a"], "l", [["1"], ["2"]], folded=True).markdown(level=3)
    assert folded.startswith("### t\n\n<details><summary>2 rows</summary>\n\n| a")
    assert folded.endswith("\n\n</details>")


@pytest.mark.parametrize("padded", [False, True])
def test_markdown_escapes_what_would_end_a_cell_or_start_emphasis_or_a_tag(padded: bool) -> None:
    table = Table("", ["a|b"], "l", [["c|d *e* <f> `g*h`"], ["x < y"]])
    head, _, first, second = (line.strip("| ") for line in table.markdown(padded=padded).splitlines())
    assert (head, first, second) == (r"a\|b", r"c\|d \*e\* \<f> `g*h`", "x < y")


def test_an_escaped_character_counts_in_the_width() -> None:
    assert {len(line) for line in Table("", ["a"], "l", [["b|c"], ["d"]]).markdown().splitlines()} == {len(r"| b\|c |")}


@pytest.mark.parametrize(
    ("columns", "align", "rows", "bold"),
    [(["a", "b"], "lr", [["1"]], []), (["a"], "lr", [["1"]], []), (["a"], "l", [["1"]], [[True, False]])],
)  # fmt: skip
def test_a_row_of_another_length_is_refused(columns, align, rows, bold) -> None:
    with pytest.raises(ValueError, match="one entry per column"):
        Table("t", columns, align, rows, bold)


def test_columns_of_numbers_stand_to_the_right() -> None:
    records = [{"run": "1", "n": "12", "share": "<0.01 [a]", "note": "3"}, {"run": "2", "n": "-", "share": "", "note": "none"}]
    assert Table.of(records).align == "lrrl"
    assert Table.of([]).markdown() == "|  |\n|  |"


def test_records_become_rows_of_some_columns() -> None:
    table = Table.of([{"a": "1", "b": "2"}, {"b": "4", "a": "3"}], "t", columns=("b",))
    assert (table.columns, table.rows) == (["b"], [["2"], ["4"]])


def test_a_terminal_shows_title_marks_brackets_and_footnotes_as_they_are() -> None:
    text = shown(Table("[b]t[/b]", ["x"], "l", [["rope [a]"]], caption="how to read", footnotes=["[a] a note"]))
    for words in ("[b]t[/b]", "rope [a]", "how to read", "[a] a note"):
        assert words in text


def test_a_narrow_terminal_shows_the_narrow_table() -> None:
    table = Table("", ["x", "y"], "ll", [["a" * 30, "b" * 30]], narrow=Table("", ["x"], "l", [["a" * 30]]))
    assert "b" * 30 in shown(table, width=80)
    assert "b" not in shown(table, width=40)


def test_a_narrow_table_has_its_own_caption() -> None:
    narrow = Table("", ["x"], "l", [["a"]], caption="of x alone")
    table = Table("", ["x", "y"], "ll", [["a", "b" * 30]], caption="of x and y", narrow=narrow)
    assert "of x and y" in shown(table, width=80)
    assert shown(table, width=20).split()[-3:] == ["of", "x", "alone"]


def test_html_escapes_tags_raises_marks_and_keeps_code() -> None:
    table = Table("t", ["<x>", "n"], "lr", [["a & <b> [a]", "1,024"], ["`c`", "<0.01"]], [[True, False], [False, True]])
    text = table.html()
    assert '<th scope="col" class="l">&lt;x&gt;</th><th scope="col">n</th>' in text
    assert '<th scope="row"><b>a &amp; &lt;b&gt;<sup>a</sup></b></th><td data-v="1024">1,024</td>' in text
    assert '<th scope="row"><code>c</code></th><td data-v="0.0099"><b>&lt;0.01</b></td>' in text


def test_html_links_rows_and_keeps_references_below() -> None:
    table = Table("t", ["encoding", "n"], "lr", [["rope [a]", "1"], ["chance", "0"]], foot=1)
    text = table.html({"rope": "#rope"})
    assert '<tbody><tr><th scope="row"><a href="#rope">rope</a><sup>a</sup></th>' in text
    assert '<tfoot><tr><th scope="row">chance</th>' in text


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.84 (0.80 to 0.88)", 0.84), ("1,217,798", 1217798), ("<0.01", 0.0099), (">0.99", 0.9901), ("-0.05", -0.05),
     ("+0.40 to +0.50", 0.4), ("-", None), ("rope", None), ("<16 (<16-32)", 15.9999), ("2/3", 2), ("1.2e+05", 120000),
     (">-0.01", -0.0099), ("< 0.001", 0.0009)],
)  # fmt: skip
def test_a_cell_sorts_by_the_number_it_begins_with(text, value) -> None:
    assert sort_key(text) == (None if value is None else pytest.approx(value))


def test_latex_escapes_what_it_would_take_for_commands() -> None:
    text = SPECIAL.latex()
    assert r"\caption{a\_b \& 50 \%. c\#\$\textbackslash{}}" in text
    assert r"t5:a$|$b\textasciitilde{}\textasciicircum{}\textsuperscript{a} & \textbf{$<$ 0.01 (0.00 to 0.50)} \\" in text
    assert r"\textsuperscript{a} \{x\}" in text
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1


def test_each_format_escapes_in_one_function() -> None:
    assert markdown_cell("a|b*c") == r"a\|b\*c"
    assert latex("`a_b` (query-key) [a]") == r"\texttt{a\_b} (query-key)\textsuperscript{a}"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2.2e-13", r"$2.2\times10^{-13}$"),
        ("1.2e+05", r"$1.2\times10^{5}$"),
        ("-0.05", "$-$0.05"),
        ("-5 to +70", "$-$5 to +70"),
        ("[-19, +16]", "[$-$19, +16]"),
        ("-", "-"),
        ("1e-3 in `lr=1e-3-78e12`", r"$1\times10^{-3}$ in \texttt{lr=1e-3-78e12}"),
        ("query-key, 2-4", "query-key, 2-4"),
    ],
)
def test_latex_numbers_have_a_minus_and_a_power_of_ten(text: str, written: str) -> None:
    assert latex(text) == written


def test_a_latex_table_is_never_wider_than_the_page() -> None:
    text = Table("t", ["a" * 300], "l", [["b"]]).latex()
    assert r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%" in text


def test_a_long_table_has_parts_with_numbers() -> None:
    table = Table("t", ["a"], "l", [[str(n)] for n in range(5)], bold=[[n == 4] for n in range(5)])
    assert [(part.title, len(part.rows), part.bold) for part in table.parts(3)] == [
        ("t (1)", 3, [[False]] * 3), ("t (2)", 2, [[False], [True]])]  # fmt: skip
    assert table.parts(5) == [table]


def test_footnotes_share_a_letter_for_the_same_text() -> None:
    notes = Footnotes()
    assert [notes.mark("x"), notes.mark("y"), notes.mark("x")] == [" [a]", " [b]", " [a]"]
    assert notes.lines == ["[a] x", "[b] y"]
    assert [letter(i) for i in (25, 26, 27)] == ["z", "aa", "ab"]


@pytest.mark.parametrize(
    ("cell", "side"),
    [("0.84 (0.80-0.88)", "r"), ("1.25x", "r"), ("<0.01 [a]", "r"), ("12%", "r"), ("1,200", "r"), ("-", "l"),
     ("98 % (97 to 98)", "r"), ("> 99 %", "r"), ("+70", "r"),
     ("> 3 1 2 | [3] [1] [2] .", "l"), ("16x1x2x16x4", "l"), ("2 processes", "l")],
)  # fmt: skip
def test_a_column_of_numbers_stands_to_the_right(cell: str, side: str) -> None:
    assert Table.of([{"name": "a", "value": cell}]).align == f"l{side}"


def test_a_terminal_shows_the_widest_form_of_a_table_that_fits() -> None:
    narrowest = Table("", ["c"], "l", [["4"]])
    narrow = Table("", ["b" * 20], "l", [["20"]], narrow=narrowest)
    table = Table("", ["a" * 40], "l", [["40"]], narrow=narrow)
    for width, cell in ((50, "40"), (30, "20"), (10, "4")):
        console = Console(file=io.StringIO(), width=width)
        console.print(table)
        assert console.file.getvalue().split()[-1] == cell  # type: ignore[attr-defined]


def test_a_long_choice_is_broken_before_its_options_where_a_terminal_is_narrow() -> None:
    name = "addition:format=steps:operands=mixed:reverse=false"
    table = Table("", ["task", "what it asks"], "ll", [[name, "add numbers " * 9], ["copy", "again"]])
    words = [line.split()[0] for line in shown(table, width=80).splitlines() if line.split()]
    assert words[2:5] == ["addition:format=steps", ":operands=mixed", ":reverse=false"]
    assert name in shown(table, width=240)
    assert name in table.markdown()
