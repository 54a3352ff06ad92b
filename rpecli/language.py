"""Formal languages as tasks: after every symbol of a word, which symbols may come next, and whether the word may end.

A task of a language says which symbols are allowed after each prefix (`allowed`) and draws words. For a regular language both
follow from a deterministic automaton, which draws uniformly among all words of a length: a symbol is as likely as the share of
the remaining words that begin with it. The shares are computed with whole numbers, so that they are the same on every machine.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from rpecli.task import BOS, END, SPECIAL, Batch, Task

UNIT = 2**62  # a uniform number below it is compared with shares of it


def token_set(symbols: list[int], end: bool) -> int:
    """The set of these symbols, and of the end token, as `Batch.sets_BxT` has it."""
    return sum(1 << symbol + SPECIAL for symbol in symbols) | end << END


def closes(rng: np.random.Generator, open_B: np.ndarray, left_B: np.ndarray) -> np.ndarray:
    """1 where the next bracket closes one, so that all balanced ways to go on are equally likely.

    With h open brackets and r symbols left, a share h(r+h+2) / 2r(h+1) of them begins with a closing one.
    """
    return (rng.integers(2 * left_B * (open_B + 1)) < open_B * (left_B + open_B + 2)).astype(np.int64)


class Language(Task):
    """The words of a formal language: `> x1 {...}x2 ... {...}xn {...}.`, with the sets that are predicted."""

    predicts_sets = True

    def allowed(self, x_BxN: np.ndarray) -> np.ndarray:
        """The set of tokens that may follow each symbol, `[B, N]`."""
        raise NotImplementedError

    def layout(self, x_BxN: np.ndarray) -> Batch:
        batch, length = x_BxN.shape
        tokens_BxT = np.full((batch, length + 2), BOS, dtype=np.int64)
        tokens_BxT[:, 1:-1], tokens_BxT[:, -1] = x_BxN + SPECIAL, END
        answer_mask_BxT, sets_BxT = np.zeros(tokens_BxT.shape, dtype=bool), np.zeros_like(tokens_BxT)
        answer_mask_BxT[:, 2:], sets_BxT[:, 2:] = True, self.allowed(x_BxN)
        return Batch(tokens_BxT, answer_mask_BxT, sets_BxT)


@dataclass(frozen=True)
class Automaton:
    """States 0 (the first), 1, ... with the state that follows by symbol; -1 where no word goes on so."""

    next: tuple[tuple[int, ...], ...]
    accepting: frozenset[int]

    @property
    def symbols(self) -> int:
        return len(self.next[0])

    def has_words(self, length: int) -> bool:
        """Whether there is a word of this length: powers of the matrix of steps, by squaring."""
        step = np.array([[target in targets for target in range(len(self.next))] for targets in self.next])
        state = np.arange(len(self.next)) == 0
        while length > 0:
            state = state @ step if length % 2 else state
            step, length = step @ step, length // 2
        return bool(state[list(self.accepting)].any())

    def words(self, length: int) -> int:
        """The number of words of this length."""
        return _counts(self, _table_size(length))[length][0]

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        """Words, uniformly among those of a length."""
        shares, next_SxA = _shares(self, _table_size(length)), np.array(self.next)
        number_NxB = rng.integers(UNIT, size=(length, batch))
        x_NxB, state_B = np.empty((length, batch), dtype=np.int64), np.zeros(batch, dtype=np.int64)
        for place in range(length):
            x_NxB[place] = (number_NxB[place][:, None] >= shares[length - place][state_B]).sum(axis=1)
            state_B = next_SxA[state_B, x_NxB[place]]
        return np.ascontiguousarray(x_NxB.T)

    def states(self, x_BxN: np.ndarray) -> np.ndarray:
        """The state after each symbol, `[B, N]`."""
        state_NxB, state_B = np.empty(x_BxN.T.shape, dtype=np.int64), np.zeros(len(x_BxN), dtype=np.int64)
        next_SxA = np.array(self.next)
        for place, x_B in enumerate(x_BxN.T):
            state_NxB[place] = state_B = next_SxA[state_B, x_B]
        return state_NxB.T

    def sets(self) -> list[int]:
        """The set of tokens that may follow, by state."""
        return [
            token_set([symbol for symbol, target in enumerate(targets) if target >= 0], state in self.accepting)
            for state, targets in enumerate(self.next)
        ]

    def occupancy(self, length: int) -> list[float]:
        """How often each state comes after a symbol of a uniform word, as a share of its places."""
        counts, sums = _counts(self, _table_size(length)), [0] * len(self.next)
        ways = [int(state == 0) for state in range(len(self.next))]  # words of the length so far that lead to each state
        for left in range(length - 1, -1, -1):
            before, ways = ways, [0] * len(ways)
            for n, targets in zip(before, self.next, strict=True):
                for state in targets:
                    if state >= 0:
                        ways[state] += n
            sums = [total + n * counts[left][state] for state, (total, n) in enumerate(zip(sums, ways, strict=True))]
        return [total / (length * counts[length][0]) for total in sums]


class Regular(Language):
    """A language of an automaton."""

    automaton: Automaton

    def has_length(self, length: int) -> bool:
        return length > 0 and self.automaton.has_words(length)

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        return self.automaton.draw(rng, batch, length)

    def allowed(self, x_BxN: np.ndarray) -> np.ndarray:
        return np.array(self.automaton.sets())[self.automaton.states(x_BxN)]

    def fixed_set(self, length: int, sequences: int) -> Batch | None:
        """Of a language with one word of a length, that word once."""
        return self.sample(np.random.default_rng(0), 1, length) if self.automaton.words(length) == 1 else None

    def chance(self, length: int) -> float:
        """The share of places with the most frequent set."""
        share = dict.fromkeys(self.automaton.sets(), 0.0)
        for tokens, places in zip(self.automaton.sets(), self.automaton.occupancy(length), strict=True):
            share[tokens] += places
        return max(share.values())


def _table_size(length: int) -> int:
    """A power of two of at least this: lengths share their tables."""
    return 1 << max(4, (length - 1).bit_length())


@lru_cache(maxsize=64)
def _counts(automaton: Automaton, size: int) -> list[list[int]]:
    """The number of ways to a word of each number of further symbols up to `size`, and each state."""
    counts = [[int(state in automaton.accepting) for state in range(len(automaton.next))]]
    for _ in range(size):
        counts.append([sum(counts[-1][target] for target in targets if target >= 0) for targets in automaton.next])
    return counts


@lru_cache(maxsize=64)
def _shares(automaton: Automaton, size: int) -> np.ndarray:
    """By number of symbols left, state and symbol but the last: the share of words that go on with it or one before, of UNIT."""
    counts, shares = _counts(automaton, size), np.zeros((size + 1, len(automaton.next), automaton.symbols - 1), dtype=np.int64)
    for left in range(1, size + 1):
        for state, targets in enumerate(automaton.next):
            below = 0
            for symbol, target in enumerate(targets[:-1]):
                below += counts[left - 1][target] if target >= 0 else 0
                shares[left, state, symbol] = below * UNIT // max(1, counts[left][state])
    return shares
