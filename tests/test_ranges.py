"""How lengths and seeds are written: doubling, adding, lists and multiples, and what every error proposes."""

import re

import pytest

from rpecli.config.ranges import parse_lengths, parse_seeds


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("16", [16]),
        ("512:4096", [512, 1024, 2048, 4096]),
        ("16:50", [16, 32]),
        ("16:16", [16]),
        ("16:64:16", [16, 32, 48, 64]),
        ("16:60:16", [16, 32, 48]),
        ("32, 16,32 ,8", [8, 16, 32]),
        ("1x,2x", [20, 40]),
        ("1x:8x", [20, 40, 80, 160]),
        ("1x:3x:1x", [20, 40, 60]),
        ("0.5x:1.5x:0.5x", [10, 20, 30]),
        ("20:4x", [20, 40, 80]),
        ("1x:64", [20, 40]),
        ("1:4,1x,30", [1, 2, 4, 20, 30]),
        (" 16 : 32 ", [16, 32]),
        ("1:999999999", [2**k for k in range(30)]),
    ],
)
def test_lengths_double_add_list_and_multiply(text: str, lengths: list[int]) -> None:
    assert parse_lengths(text, 20) == lengths


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("0:10", "lengths start at 1: write 1:10"),
        ("0", "lengths start at 1: write 1"),
        ("0x", "lengths start at 1: write 1x for the training length"),
        ("0.0x:2x", "lengths start at 1: write 1x for the training length"),
        ("10:64:0", "lengths start at 1: write 10:64:1"),
        ("10:0", "lengths start at 1: write 10:1"),
        ("0.01x", "lengths start at 1: write 1"),
        ("32:16", "descends: write 16:32"),
        ("32:16:8", "descends: write 16:32:8"),
        ("4x:1x", "descends: write 1x:4x"),
        ("abc", "'abc' is not a length"),
        ("-4", "'-4' is not a length"),
        ("1.5", "'1.5' is not a length"),
        ("1e3", "'1e3' is not a length"),
        ("x", "'x' is not a length"),
        ("2x2", "'2x2' is not a length"),
        ("", "is not a length: write 16,32 or"),
        ("16,,32", "is not a length: write 16,32 or"),
        ("16:", "'' is not a length"),
        (":16", "'' is not a length"),
        ("1:2:3:4", "is not a length: write 16,32 or"),
        ("9" * 400, "below 10^9"),
        ("9" * 400 + "x", "below 10^9"),
        ("512-4096", "did you mean 512:4096?"),
        ("1x-8x", "did you mean 1x:8x?"),
        ("1:999999999:1", "has more than 10000 lengths"),
    ],
)
def test_bad_lengths_say_what_to_write(text: str, remedy: str) -> None:
    with pytest.raises(ValueError, match=re.escape(remedy)):
        parse_lengths(text, 20)


def test_multiples_follow_the_training_length() -> None:
    assert parse_lengths("1x,4x", 16) == [16, 64]
    assert parse_lengths("1x,4x", 7) == [7, 28]


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("3", [3]), ("0,4", [0, 4]), ("0:3", [0, 1, 2]), ("4,0:2,4", [4, 0, 1]), (" 1 , 2 ", [1, 2]), ("7:8", [7])],
)
def test_seeds_are_numbers_lists_and_ranges(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "-1", "1.0", "3:3", "3:1", "0:", ":3", "0:4:2", "1,,2", "0:999999999", "9" * 5000])
def test_bad_seeds_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="seed"):
        parse_seeds(text)
