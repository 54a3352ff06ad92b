"""Every kernel on shapes that a generator draws, against attention as its formula reads, forward and backward."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from helpers.encodings import BOTH, build_or_skip, move_parameters
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rpecli.attention.blocks import BlockSizes
from rpecli.attention.dispatch import ForwardContext, attend
from rpecli.attention.reference import NORMALIZERS, causal_mask, scores
from rpecli.choice import ChoiceError
from rpecli.encoding import Encoding, QueryKey

EXAMPLES = max(1, settings().max_examples // 5)  # for each encoding and direction
LENGTHS = [1, 2, 3, 5, 7, 13, 31, 67, 131, 193]  # the kernels for training on CPUs begin at 64, 128 and 192 keys


def transposed(x: Tensor) -> Tensor:
    """As a model has them: a view of `[B, T, H, D]`."""
    return x.transpose(1, 2).contiguous().transpose(1, 2)


def columns_first(x: Tensor) -> Tensor:
    return x.transpose(2, 3).contiguous().transpose(2, 3)


def every_second(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, dim=3)[..., ::2]


def slice_of_more(x: Tensor) -> Tensor:
    return torch.nn.functional.pad(x, (1, 2, 3, 1))[:, :, 3:-1, 1:-2]


LAYOUTS: list[Callable[[Tensor], Tensor]] = [torch.Tensor.contiguous, transposed, columns_first, every_second, slice_of_more]


@dataclass(frozen=True)
class Shapes:
    """The sizes of one call of `attend`, and how its tensors lie in memory."""

    B: int
    H: int
    T: int
    S: int
    D: int
    layout: Callable[[Tensor], Tensor]
    start: int  # the first position
    step: int  # 1: contiguous positions
    padding: int  # first keys of the last sequence

    @property
    def positions_BxS(self) -> Tensor:  # noqa: N802 - reads as an attribute
        return self.start + self.step * torch.arange(self.S)[None]

    @property
    def padding_mask_BxS(self) -> Tensor | None:  # noqa: N802
        if not self.padding:
            return None
        mask_BxS = torch.zeros(self.B, self.S, dtype=torch.bool)
        mask_BxS[-1, : self.padding] = True
        return mask_BxS

    def tensors(self) -> list[Tensor]:
        """Queries, keys, values, and the layer's input, leaves of a graph."""
        generator = torch.Generator().manual_seed(self.T * 1000 + self.S)
        sizes = [(self.B, self.H, length, self.D) for length in (self.T, self.S, self.S)] + [(self.B, self.S, self.H * self.D)]
        return [torch.randn(*size, generator=generator).requires_grad_() for size in sizes]


@st.composite
def shapes(draw: st.DrawFn) -> Shapes:
    T = draw(st.sampled_from(LENGTHS))
    S = T + draw(st.sampled_from([0, 0, 1, 2, 11]))
    return Shapes(
        B=draw(st.integers(1, 3)),
        H=draw(st.sampled_from([1, 2, 3, 5])),
        T=T,
        S=S,
        D=draw(st.sampled_from([1, 2, 3, 4, 5, 8, 16])),
        layout=draw(st.sampled_from(LAYOUTS)),
        start=draw(st.sampled_from([0, 0, 1, 997])),
        step=draw(st.sampled_from([1, 1, 3])),
        padding=draw(st.sampled_from([0, 0, 1])) * (S > 1),
    )


BLOCKS = st.builds(
    BlockSizes,
    dense_keys=st.sampled_from([0, 256]),
    cells=st.sampled_from([1, 100, 1 << 17]),
    min_rows=st.sampled_from([1, 3, 32]),
    curve_rows=st.sampled_from([1, 5, 64]),
)


def build(choice: str, causal: bool, case: Shapes) -> tuple[Encoding, Shapes]:
    """The encoding in these sizes, or, where these are too few or too odd for it, in wider heads."""
    try:
        module = build_or_skip(choice, causal, max_train_length=16, d_model=case.H * case.D, n_head=case.H)
    except ChoiceError as error:
        if "heads come in pairs" in str(error):
            return build(choice, causal, replace(case, H=case.H + 1))
        wider = r"is odd, but .* pair channels: write d_model=|rotates 0 of 1 pairs: write|0 of 1 channels for the amplitude"
        if not re.search(wider, str(error)):
            raise
        return build(choice, causal, replace(case, D=case.D + 1))
    return move_parameters(module, 0.3), case


def by_formula(module: Encoding, case: Shapes, leaves: list[Tensor], normalizer: str) -> Tensor:
    q, k, v, x = leaves
    padding = case.padding_mask_BxS
    logits_BxHxTxS = scores(module, q, k, x, case.positions_BxS, padding)
    masked = causal_mask(case.T, case.S) if module.shape.causal else torch.zeros(case.T, case.S, dtype=torch.bool)
    masked = masked[None, None] if padding is None else masked | padding[:, None, None]
    return NORMALIZERS[normalizer](logits_BxHxTxS, masked) @ v


def by_kernel(module: Encoding, case: Shapes, leaves: list[Tensor], normalizer: str, sizes: BlockSizes) -> Tensor:
    q, k, v = (case.layout(leaf) for leaf in leaves[:3])
    context = ForwardContext(case.padding_mask_BxS, case.step == 1, {}, sizes)
    return attend(module, QueryKey.last(q, k, case.positions_BxS, module.features(leaves[3])), v, context, normalizer)


def read_rows(case: Shapes, out: Tensor) -> Tensor:
    """The output without rows that are padding themselves, which nobody reads."""
    unread = max(0, case.padding - (case.S - case.T))
    return torch.cat([out[:-1].flatten(), out[-1, :, unread:].flatten()])


def gradients(out_BxHxTxD: Tensor, case: Shapes, module: Encoding, leaves: list[Tensor]) -> list[Tensor]:
    """Of a weighted sum of the rows that are read, by the leaves and by the encoding's parameters."""
    rows = read_rows(case, out_BxHxTxD)
    weight = torch.randn(rows.shape, generator=torch.Generator().manual_seed(5))
    return list(torch.autograd.grad((rows * weight).sum(), [*leaves, *module.parameters()], materialize_grads=True))


@BOTH
def test_any_shape_equals_the_formula_forward_and_backward(encoding_name, causal):
    @settings(max_examples=EXAMPLES)
    @given(case=shapes(), sizes=BLOCKS, normalizer=st.sampled_from(["softmax", "softmax", "stick-breaking"]))
    def equal(case: Shapes, sizes: BlockSizes, normalizer: str) -> None:
        module, case = build(encoding_name, causal, case)
        leaves = case.tensors()
        expected = by_formula(module, case, leaves, normalizer)
        trained = by_kernel(module, case, leaves, normalizer, sizes)
        with torch.no_grad():
            evaluated = by_kernel(module, case, leaves, normalizer, sizes)
        assert trained.shape == evaluated.shape == (case.B, case.H, case.T, case.D)
        for out in (trained, evaluated):
            torch.testing.assert_close(read_rows(case, out), read_rows(case, expected), atol=2e-5, rtol=1e-4)
        of_kernel, of_formula = (gradients(out, case, module, leaves) for out in (trained, expected))
        for gradient, formula in zip(of_kernel, of_formula, strict=True):
            torch.testing.assert_close(gradient, formula, atol=1e-4, rtol=1e-3)

    equal()
