"""Markdown tables: what is escaped, what is aligned, what is filled up."""

import pytest

from rpecli.markdown import table


def test_a_table_is_as_tight_as_its_text() -> None:
    assert table(["name", "n"], [["a", "1"], ["b", "10"]]).splitlines() == [
        "| name | n |",
        "| --- | --- |",
        "| a | 1 |",
        "| b | 10 |",
    ]
    assert table(["name", "n"], [["a", "1"]], "lr").splitlines()[1] == "| --- | ---: |"


def test_a_padded_table_has_columns_of_one_width_and_numbers_to_the_right() -> None:
    assert table(["name", "n"], [["a", "1"], ["longer", "1000"]], "lr", padded=True).splitlines() == [
        "| name   |    n |",
        "| :----- | ---: |",
        "| a      |    1 |",
        "| longer | 1000 |",
    ]


@pytest.mark.parametrize("padded", [False, True])
def test_a_bar_in_a_cell_or_a_heading_does_not_end_it(padded: bool) -> None:
    head, _, row = table(["a|b"], [["c|d"]], padded=padded).splitlines()
    assert (head, row) == (r"| a\|b |", r"| c\|d |")


def test_an_escaped_bar_counts_in_the_width() -> None:
    assert {len(line) for line in table(["a"], [["b|c"], ["d"]], padded=True).splitlines()} == {len(r"| b\|c |")}


def test_a_row_of_another_length_is_refused() -> None:
    for padded in (False, True):
        with pytest.raises(ValueError, match="shorter"):
            table(["a", "b"], [["1"]], padded=padded)
