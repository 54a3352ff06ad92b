"""BiPE: a learned vector for the place in a segment, and relative positions that count segments.

x_i = token_i + P[min(place_i, rows-1)],  P[a] ~ N(0, std^2) at first;  the scores of `over` see segment_i as the position of i

A segment ends with a separator, which belongs to it: special tokens (begin, the bar before the answer) and the symbols that
`ends` names by number, with dots between (`ends=10.46` for bytes: newline and full stop). place_i = 0, 1, ... within the segment,
segment_i = the number of separators before token i. `over` is rope as in the paper's BiPE-RoPE, alibi as in its BiPE-ALiBi, or
another encoding that acts on the scores alone. Both numbers follow from the tokens, so that positions which training offsets or
randomizes change nothing. Padding does not count, nor do blank tokens, as the answers of an encoder are.
Past the training length longer segments meet rows at their initial values, and beyond `rows` share the last one, as in the
authors' code; more segments are distances that `over` never saw.
"""

import torch
from torch import Tensor

from rpecli.encoding import Shape, overrides
from rpecli.encodings import _require as require
from rpecli.encodings._places import PlacesOver
from rpecli.task import PAD, SPECIAL


class BiPE(PlacesOver):
    title = "BiPE"
    paper = "Two Stones Hit One Bird: Bilevel Positional Encoding for Better Length Extrapolation, 2024, arXiv 2401.16421"
    extrapolation = "rows at their initial values, new numbers of segments"

    def __init__(self, shape: Shape, *, ends: str = "", rows: int = 1024, std: float = 1.0, over: str = "rope"):
        require.at_least(1, rows=rows)
        super().__init__(shape, over, rows, std)
        if any(overrides(self.over, hook) for hook in ("embed", "relocate")):
            raise ValueError(f"over={over}: write an encoding that acts on the scores alone, such as over=rope or over=alibi")
        symbols = _symbols(ends)
        self.ends = [symbol + SPECIAL for symbol in symbols]
        self.last = max(symbols, default=-1)
        self.rows = rows

    @property
    def named_symbols(self) -> int:
        return self.last + 1

    def relocate(self, positions_BxS: Tensor, ids_BxS: Tensor) -> Tensor:
        ends_BxS = self.separators(ids_BxS).long()
        return ends_BxS.cumsum(dim=1) - ends_BxS

    def places(self, ids_BxS: Tensor) -> Tensor:
        """0, 1, ... within each segment."""
        count_BxS = (ids_BxS != PAD).cumsum(dim=1)
        start_BxS = count_BxS.where(self.separators(ids_BxS), 0).cummax(dim=1).values
        place_BxS = count_BxS - 1 - torch.cat([torch.zeros_like(start_BxS[:, :1]), start_BxS[:, :-1]], dim=1)
        return place_BxS.clamp(0, self.rows - 1)

    def separators(self, ids_BxS: Tensor) -> Tensor:
        ends_BxS = (ids_BxS != PAD) & (ids_BxS < SPECIAL)
        return ends_BxS | torch.isin(ids_BxS, torch.tensor(self.ends, device=ids_BxS.device)) if self.ends else ends_BxS


def _symbols(ends: str) -> list[int]:
    """The symbols that `ends` names; one spelling for each set of them. Raises ValueError."""
    parts = ends.split(".") if ends else []
    if not all(part.isdecimal() for part in parts):
        raise ValueError(f"ends holds numbers of symbols separated by dots, such as ends=10.46, not {ends!r}")
    symbols = sorted(set(map(int, parts)))
    if (written := ".".join(map(str, symbols))) != ends:
        raise ValueError(f"ends={ends}: symbols ascend, each once: write ends={written}")
    return symbols
