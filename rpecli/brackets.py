"""Expressions of digits in full brackets, `(3-(-1*(4+2)))`: uniform random splits of a length, and their value modulo m.

They are the grammar of two tasks of Deletang et al. 2023 (arXiv 2207.02098): an expression of length n >= 5 is `(left op right)`,
where the length of the left side is uniform on 1..n-4; shorter ones are d, -d, (d) and (-d). All digits and operators are
equally likely. Symbols: the digits 0..m-1, then those of SIGNS.
"""

import numpy as np

SIGNS = "+-*()"
PLUS, MINUS, TIMES, OPEN, CLOSE = range(5)  # added to the modulus


def draw(rng: np.random.Generator, batch: int, length: int, modulus: int, operators: int) -> np.ndarray:
    """Random expressions `[batch, length]` with the first `operators` of + - *."""
    text_F = np.empty(batch * length, dtype=np.int64)  # all expressions in one row
    start_S, length_S = np.arange(batch) * length, np.full(batch, length)  # subexpressions yet to be written
    while start_S.size:
        whole_S = length_S >= 5
        _write_leaves(text_F, rng, start_S[~whole_S], length_S[~whole_S], modulus)
        start_S, length_S = start_S[whole_S], length_S[whole_S]
        left_S = rng.integers(1, length_S - 3)
        operator_S = start_S + 1 + left_S
        text_F[start_S], text_F[start_S + length_S - 1] = modulus + OPEN, modulus + CLOSE
        text_F[operator_S] = modulus + rng.integers(operators, size=len(start_S))
        start_S, length_S = np.concatenate([start_S + 1, operator_S + 1]), np.concatenate([left_S, length_S - left_S - 3])
    return text_F.reshape(batch, length)


def _write_leaves(text_F: np.ndarray, rng: np.random.Generator, start_S: np.ndarray, length_S: np.ndarray, modulus: int) -> None:
    """d, -d, (d) or (-d), by length."""
    bracket_S, negative_S = length_S >= 3, length_S % 2 == 0
    text_F[start_S[bracket_S]] = modulus + OPEN
    text_F[(start_S + length_S - 1)[bracket_S]] = modulus + CLOSE
    text_F[(start_S + bracket_S)[negative_S]] = modulus + MINUS
    text_F[start_S + bracket_S + negative_S] = rng.integers(modulus, size=len(start_S))


def value(symbols: list[int], modulus: int) -> int:
    """The value of one expression modulo m."""
    stack: list[int] = []  # of values, which are < m, and of signs
    for symbol in symbols:
        if symbol == modulus + CLOSE:
            right, sign = stack.pop(), stack.pop()
            if sign != modulus + OPEN:  # else (d)
                left, _ = stack.pop(), stack.pop()
                right = _apply(sign - modulus, left, right) % modulus
            stack.append(right)
        elif symbol < modulus and stack[-1:] == [modulus + MINUS] and (len(stack) == 1 or stack[-2] >= modulus):
            stack[-1] = -symbol % modulus  # nothing to subtract from: -d
        else:
            stack.append(symbol)
    return stack[0]


def _apply(operator: int, left: int, right: int) -> int:
    if operator == TIMES:
        return left * right
    return left - right if operator == MINUS else left + right


def word(symbol: int, modulus: int) -> str:
    return str(symbol) if symbol < modulus else SIGNS[symbol - modulus]
