"""How lengths and seeds are written: `512:4096`, `16:64:16`, `1x,2x`; `0:3`."""

import itertools
import re

MOST = 10_000  # lengths or seeds in one range; more is a slip of the finger that would fill the memory


def parse_lengths(text: str, train_length: int = 1) -> list[int]:
    """`512:4096` doubles, `16:64:16` adds, `16,32` lists, `1x,4x` (or `1x:4x`) are multiples of the training length.

    Returns whole lengths, ascending, each once. Raises ValueError with what to write instead.
    """
    found: set[int] = set()
    for part in str(text).split(","):
        found.update(_part_lengths(part.strip(), train_length))
    return sorted(found)


def _part_lengths(part: str, train_length: int) -> list[int]:
    bounds = bounds_of(part)
    numbers = [_one_length(bound, train_length) for bound in bounds]
    if min(numbers) < 1:
        fixed = ":".join(bound if number else "1" for bound, number in zip(bounds, numbers, strict=True))
        raise ValueError(f"{part!r}: lengths start at 1: write {fixed}")
    if len(numbers) == 1:
        return numbers
    first, last = numbers[:2]
    if last < first:
        raise ValueError(f"{part!r} descends: write {':'.join([bounds[1], bounds[0], *bounds[2:]])}")
    if len(numbers) == 3:
        if (last - first) // numbers[2] >= MOST:
            raise ValueError(f"{part!r} holds more than {MOST} lengths: write a larger step, or none to double")
        return list(range(first, last + 1, numbers[2]))
    return list(itertools.takewhile(lambda n: n <= last, (first * 2**k for k in itertools.count())))


def bounds_of(part: str) -> list[str]:
    """The one to three numbers of a part as they are written. Up to nine digits, so that no sum is out of hand."""
    bounds = [bound.strip() for bound in part.split(":")]
    if not part or len(bounds) > 3:
        raise ValueError(f"{part!r} is no length: write 16,32 or 512:4096 (doubling) or 16:64:16 (adding) or 1x,2x")
    for bound in bounds:
        if not re.fullmatch(r"\d{1,9}(\.\d+)?x|\d{1,9}", bound):
            remedy = "write a whole number below 10^9, or a multiple of the training length as 2x"
            raise ValueError(f"{part!r}: {bound!r} is no length: {remedy}")
    return bounds


def _one_length(bound: str, train_length: int) -> int:
    return round(float(bound[:-1]) * train_length) if bound.endswith("x") else int(bound)


def parse_seeds(text: str) -> list[int]:
    """`3` is one seed, `0,4` lists, `0:3` is 0, 1, 2."""
    seeds: list[int] = []
    for part in str(text).split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?::(\d{1,9}))?\s*", part)
        if not match:
            raise ValueError(f"{part!r} is no seed: write 3, or 0,4, or 0:3 for 0, 1, 2")
        first = int(match[1])
        last = int(match[2]) if match[2] else first + 1
        if last <= first:
            raise ValueError(f"{part!r} holds no seed: the end is not included; write 0:3 for 0, 1, 2")
        if last - first > MOST:
            raise ValueError(f"{part!r} holds more than {MOST} seeds: write fewer")
        seeds.extend(range(first, last))
    return list(dict.fromkeys(seeds))
