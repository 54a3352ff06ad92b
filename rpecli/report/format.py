"""Numbers and names as tables show them."""

import math
from collections.abc import Callable, Collection

from rpecli.report.records import Difference
from rpecli.report.stats import Summary
from rpecli.table import MISSING, multiple, plural

MANY = 1.5  # a change from which on it is told as a multiple: 2.5 times as many
LARGEST = 700.0  # of what the exponential function takes
Interval = tuple[float, float] | None
Writer = Callable[[float, Interval], str]


def format_number(value: float) -> str:
    """`0.84`; only a true 1 is written 1.00 and only a true 0 is written 0.00."""
    if 0.995 <= abs(value) < 1:
        return "> 0.99" if value > 0 else "< -0.99"
    if 0 < abs(value) < 0.005:
        return "< 0.01" if value > 0 else "> -0.01"
    return f"{value or 0:.2f}"


def percent(share: float) -> str:
    """`84`, for a table whose heading says that it is per cent; only a true 1 is 100 and only a true 0 is 0."""
    if 0.995 <= abs(share) < 1:
        return "> 99" if share > 0 else "< -99"
    if 0 < abs(share) < 0.005:
        return "< 1" if share > 0 else "> -1"
    return f"{100 * share or 0:.0f}"


def format_percent(share: float) -> str:
    """`84 %`, `> 99 %`."""
    return f"{percent(share)} %"


def finite_exp(nll: float) -> float:
    """Perplexity of nats per token, at most what a float holds."""
    return math.exp(min(nll, LARGEST))


def perplexity(nll: float) -> str:
    """`7.21`, `153`: nats per token as perplexity, with three digits."""
    value = finite_exp(nll)
    return f"{value:#.3g}".rstrip(".") if value < 1000 else f"{value:.0f}" if value < 1e6 else f"{value:.0e}"


def bits(nll: float) -> str:
    """`2.85`: nats per token as bits."""
    return f"{nll / math.log(2):.2f}"


def format_range(summary: Summary | None, write: Callable[[float], str], bare: Callable[[float], str]) -> str:
    """The mean and, where the values differ, their range without a unit."""
    if summary is None:
        return MISSING
    low, high = bare(summary.low), bare(summary.high)
    return write(summary.mean) + ("" if low == high else f" ({low} to {high})")


def format_percent_range(summary: Summary | None) -> str:
    """`84 % (80 to 88)`."""
    return format_range(summary, format_percent, percent)


def format_interval(interval: Interval, write: Callable[[float], str] = percent) -> str:
    """`61 to 93`."""
    return MISSING if interval is None else " to ".join(map(write, interval))


def format_points(difference: float) -> str:
    """`+70`, a difference of shares in points of per cent, for a column whose heading says so."""
    text = percent(difference)
    return f"+{text}" if difference > 0 and text[0] not in "<>" else text


def format_factor(length: int, train_length: int) -> str:
    """`0.5x`, `4x`: a length as a multiple of the training length."""
    return multiple(length / train_length)


def format_count(flags: Collection[bool]) -> str:
    """`2/3`: how many of the flags are set."""
    return f"{sum(flags)}/{len(flags)}" if flags else MISSING


def format_p(p: float | None) -> str:
    """`0.031`, `< 0.001`."""
    if p is None:
        return MISSING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def p_equation(p: float) -> str:
    """`p = 0.031`, `p < 0.001`."""
    return f"p {'' if p < 0.001 else '= '}{format_p(p)}"


def write_points(mean: float, interval: Interval) -> str:
    """`+9 points [4, 13]`: a difference of shares in per cent points."""
    digits = 0 if abs(mean) >= 0.0095 or mean == 0 else 1
    return f"{_signed_percent(mean, digits)} points{_percent_interval(interval, digits)}"


def write_steps(mean: float, interval: Interval) -> str:
    """`22 % fewer steps [19, 28]`, or `1 % more steps [from 19 % fewer to 16 % more]`: of a difference of -log2 steps."""
    ends = interval and (interval[0] * math.log(2), interval[1] * math.log(2))
    return _write_change(mean * math.log(2), ends, "steps", ("fewer", "more", "as many"))


def write_perplexity_change(mean: float, interval: Interval) -> str:
    """`12 % lower perplexity [8, 15]`: from a difference of minus nats per token and its interval."""
    return _write_change(mean, interval, "perplexity", ("lower", "higher", "as high"))


def _write_change(mean: float, interval: Interval, noun: str, words: tuple[str, str, str]) -> str:
    """A difference of minus logarithms as a change: per cent less or more of something, or so many times as much.

    The ends of an interval have their own words where they are not of the kind that the mean is.
    """
    change = _change(mean)
    what = f"no difference in {noun}" if round(change, 2) == 0 else f"{_amount(change, words)} {noun}"
    if interval is None:
        return what
    low, high = sorted(map(_change, interval))
    if not any(round(end, 2) for end in (change, low, high)):
        return what
    if round(change, 2) == 0 or len({_kind(end) for end in (change, low, high)}) > 1:
        return f"{what} [from {_amount(low, words)} to {_amount(high, words)}]"
    if _kind(change) == "times":
        return f"{what} [{_times(low)}, {_times(high)}]"
    ends = sorted((low, high), key=abs)
    return f"{what} [{', '.join(_percent_end(end).lstrip('+-') for end in ends)}]"


def _kind(change: float) -> str:
    """How a change is told: a share less, a share more, or how many times as much."""
    return "less" if change < 0 else "more" if change < MANY else "times"


def _amount(change: float, words: tuple[str, str, str]) -> str:
    """`22 % fewer`, `19 % more`, `5.8 times as many`."""
    less, more, times = words
    if _kind(change) == "times":
        return f"{_times(change)} times {times}"
    return f"{abs(100 * change):.0f} % {less if change < 0 else more}"


def _times(change: float) -> str:
    factor = 1 + change
    return f"{factor:.1f}" if factor < 10 else f"{factor:,.0f}" if factor < 1e6 else f"{factor:.0e}"


def _change(score: float) -> float:
    """The change, as a share, that a difference of minus logarithms is."""
    return math.expm1(min(-score, LARGEST))


def change_percent(score: float) -> str:
    """`-12`: the change in per cent that a difference of minus logarithms is, for a column whose heading says so."""
    return _signed_percent(_change(score))


def _signed_percent(value: float, digits: int = 0) -> str:
    text = f"{100 * value:+.{digits}f}"
    return text if float(text) else text[1:]


def _percent_end(value: float, digits: int = 0) -> str:
    """`+4`, or `+0.3` where whole numbers would write an end as the 0 that an interval excludes."""
    while value and digits < 2 and not round(100 * value, digits):
        digits += 1
    return _signed_percent(value, digits)


def _percent_interval(interval: Interval, digits: int = 0) -> str:
    """` [4, 13]`, ` [-4, +13]` with signs where they differ."""
    if interval is None:
        return ""
    low, high = (_percent_end(end, digits) for end in interval)
    return f" [{low}, {high}]" if interval[0] < 0 < interval[1] else f" [{low.lstrip('+')}, {high.lstrip('+')}]"


def describe_difference(difference: Difference, write: Writer) -> str:
    """`+0.70 [+0.63, +0.77], p = 0.031, 6 pairs of seeds`."""
    p = "" if difference.p is None else f", {p_equation(difference.p)}"
    return f"{write(difference.mean, difference.interval)}{p}, {plural(difference.pairs, 'pair')} of seeds"
