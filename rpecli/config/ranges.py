"""How lengths and seeds are written: `512:4096`, `16:64:16`, `1x,2x`; `0:3`."""

import itertools
import re
from collections.abc import Sequence

MAX_ITEMS = 10_000  # lengths or seeds in one range; more is a typing error that would fill the memory


def parse_lengths(text: str, train_length: int = 1) -> list[int]:
    """The lengths of a text, ascending, each once.

    `512:4096` doubles, `16:64:16` adds, `16,32` lists, `1x,4x` and `1x:4x` are multiples of the training length.

    Raises:
        ValueError: the text is not a list of lengths; the message says what to write instead.
    """
    lengths: set[int] = set()
    for part in str(text).split(","):
        lengths.update(_part_lengths(part.strip(), train_length))
    return sorted(lengths)


def check_lengths(text: str) -> None:
    """Raises ValueError for what is wrong whatever the training length is."""
    for part in text.split(","):
        if "x" in part:
            bounds = _split_bounds(part.strip())
            if all(bound.endswith("x") for bound in bounds[:2]):
                _require_ascending(part.strip(), bounds, [float(bound[:-1]) for bound in bounds[:2]])
        else:
            parse_lengths(part)


def parse_grid(text: str, train_length: int = 1) -> list[tuple[int, int]]:
    """The pairs of sizes of a grid, by the first: `2:16` for both, `2:16/2:5` for the first and for the second.

    Raises:
        ValueError: one of them is not a list of sizes, as `parse_lengths` says.
    """
    sides = _sides(text)
    first, second = parse_lengths(sides[0], train_length), parse_lengths(sides[-1], train_length)
    return list(itertools.product(first, second))


def check_grid(text: str) -> None:
    """Raises ValueError for what is wrong with the sizes of a grid whatever the training length is."""
    for side in _sides(text):
        check_lengths(side)


def _sides(text: str) -> list[str]:
    sides = text.split("/")
    if len(sides) > 2:
        raise ValueError(f"{text!r} has more than two sizes: write 2:16, or 2:16/2:5 for the first and the second size")
    return sides


def _part_lengths(part: str, train_length: int) -> list[int]:
    bounds = _split_bounds(part)
    numbers = [_bound_length(bound, train_length) for bound in bounds]
    if min(numbers) < 1:
        fixed = ":".join(bound if number else "1" for bound, number in zip(bounds, numbers, strict=True))
        raise ValueError(f"{part!r}: lengths start at 1: write {fixed}")
    if len(numbers) == 1:
        return numbers
    first, last = numbers[:2]
    _require_ascending(part, bounds, [first, last])
    if len(numbers) == 3:
        step = numbers[2]
        if (last - first) // step >= MAX_ITEMS:
            raise ValueError(f"{part!r} has more than {MAX_ITEMS} lengths: write a larger step, or no step to double")
        return list(range(first, last + 1, step))
    return list(itertools.takewhile(lambda length: length <= last, (first * 2**k for k in itertools.count())))


def _require_ascending(part: str, bounds: list[str], values: Sequence[float]) -> None:
    """Raises ValueError where the second bound of a range is below the first."""
    if values[-1] < values[0]:
        raise ValueError(f"{part!r} descends: write {':'.join([bounds[1], bounds[0], *bounds[2:]])}")


def _split_bounds(part: str) -> list[str]:
    """The one to three numbers of a part, as written, each of at most nine digits so that no result grows out of hand."""
    bounds = [bound.strip() for bound in part.split(":")]
    if not part or len(bounds) > 3:
        raise ValueError(f"{part!r} is not a length: write 16,32 or 512:4096 (doubling) or 16:64:16 (adding) or 1x,2x")
    if re.fullmatch(r"[\dx]+-[\dx]+", part):
        raise ValueError(f"{part!r} is not a length: did you mean {part.replace('-', ':')}?")
    for bound in bounds:
        if not re.fullmatch(r"\d{1,9}(\.\d+)?x|\d{1,9}", bound):
            remedy = "write a whole number below 10^9, or a multiple of the training length such as 2x"
            raise ValueError(f"{part!r}: {bound!r} is not a length: {remedy}")
        if bound.endswith("x") and not float(bound[:-1]):
            raise ValueError(f"{part!r}: lengths start at 1: write 1x for the training length")
    return bounds


def _bound_length(bound: str, train_length: int) -> int:
    return round(float(bound[:-1]) * train_length) if bound.endswith("x") else int(bound)


def parse_seeds(text: str) -> list[int]:
    """The seeds of a text, each once: `3` is one seed, `0,4` lists, `0:3` is 0, 1, 2.

    Raises:
        ValueError: the text is not a list of seeds; the message says what to write instead.
    """
    seeds: list[int] = []
    for part in str(text).split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?::(\d{1,9}))?\s*", part)
        if not match:
            raise ValueError(f"{part!r} is not a seed: write 3, or 0,4, or 0:3 for 0, 1, 2")
        first = int(match[1])
        end = int(match[2]) if match[2] else first + 1
        if end <= first:
            raise ValueError(f"{part!r} contains no seed, because the end is excluded: write 0:3 for 0, 1, 2")
        if end - first > MAX_ITEMS:
            raise ValueError(f"{part!r} has more than {MAX_ITEMS} seeds: write fewer")
        seeds.extend(range(first, end))
    return list(dict.fromkeys(seeds))
