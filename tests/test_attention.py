"""Every kernel against the plain row-by-row softmax, and each reached by the case it is meant for."""

import numpy as np
import pytest
import torch
from helpers import reference
from torch import Tensor
from torch.nn import functional

from rpecli import catalog, encoding
from rpecli.attention import blocks, dispatch
from rpecli.attention.blocks import BlockSizes
from rpecli.attention.dispatch import ForwardContext
from rpecli.attention.reference import causal_mask, scores
from rpecli.encoding import QueryKey

M, H, D = 32, 4, 8
KERNELS = ("_plain", "dense_bias", "distance_blocks", "curve_blocks", "bias_blocks", "eager_blocks")
SHAPES = [(1, 1), (1, 9), (9, 9), (5, 12), (1, 40), (33, 33), (20, 45)]


def build(choice: str, max_train_length: int = 16) -> encoding.Encoding:
    torch.manual_seed(0)
    module = encoding.build(choice, M, H, max_train_length)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.3 * torch.randn(parameter.shape)
    return module


BIASES = [name for name in catalog.names("encodings") if encoding.overrides(build(name), "bias")]
BY_DISTANCE = [name for name in BIASES if isinstance(build(name), encoding.DistanceBias)]


class Case:
    """The inputs of one call of `attend`."""

    def __init__(self, module: encoding.Encoding, T: int, S: int, batch: int = 2, start: int = 0):
        self.module, self.T, self.S = module, T, S
        generator = torch.Generator().manual_seed(T * 1000 + S)
        self.q = torch.randn(batch, H, T, D, generator=generator)
        self.k, self.v = (torch.randn(batch, H, S, D, generator=generator) for _ in range(2))
        self.x = torch.randn(batch, S, M, generator=generator)
        self.positions_BxS = torch.arange(start, start + S)[None]

    def qk(self) -> QueryKey:
        return QueryKey.last(self.q, self.k, self.positions_BxS, self.module.features(self.x))

    def attend(self, **context: object) -> Tensor:
        return dispatch.attend(self.module, self.qk(), self.v, ForwardContext(**context))

    def expected(self, padding_mask: Tensor | None = None) -> np.ndarray:
        with torch.no_grad():
            logits = scores(self.module, self.q, self.k, self.x, self.positions_BxS, padding_mask)
        mask = None if padding_mask is None else padding_mask.numpy()
        return reference.attention(reference.array(logits), reference.array(self.v), mask)


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The kernels that were reached."""
    reached = set()

    def watched(name, kernel):
        def call(*args, **options):
            reached.add(name)
            return kernel(*args, **options)

        return call

    for name in KERNELS:
        monkeypatch.setattr(dispatch, name, watched(name, getattr(dispatch, name)))
    return reached


def assert_equal(out: Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(out.detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(("T", "S"), SHAPES)
@pytest.mark.parametrize("contiguous", [True, False])
def test_short_sequences_equal_the_plain_softmax(encoding_name, T, S, contiguous):
    case = Case(build(encoding_name), T, S)
    with torch.no_grad():
        assert_equal(case.attend(contiguous_positions=contiguous), case.expected())
    assert_equal(case.attend(contiguous_positions=contiguous), case.expected())  # and where gradients are kept


@pytest.mark.parametrize(("T", "S"), SHAPES)
@pytest.mark.parametrize("contiguous", [True, False])
def test_long_sequences_equal_the_plain_softmax_block_by_block(encoding_name, T, S, contiguous):
    case, few_rows = Case(build(encoding_name), T, S), BlockSizes(dense_keys=0, cells=8 * S + 1, min_rows=1)
    with torch.no_grad():
        assert_equal(case.attend(contiguous_positions=contiguous, sizes=few_rows), case.expected())


def test_blocks_hold_one_row_where_not_even_one_fits(encoding_name):
    case = Case(build(encoding_name), 6, 8)
    with torch.no_grad():
        assert_equal(case.attend(sizes=BlockSizes(dense_keys=0, cells=3, min_rows=1)), case.expected())


@pytest.mark.parametrize("T", [513, 270])
def test_a_bias_by_distance_equals_the_plain_softmax_over_several_blocks(T, kernels):
    """513 is two blocks of 256 rows and a row; 270 of 513 begins in the middle of the keys."""
    for name in BY_DISTANCE:
        case = Case(build(name), T, 513, batch=1)
        with torch.no_grad():
            assert_equal(case.attend(contiguous_positions=True), case.expected())
    assert "distance_blocks" in kernels


@pytest.mark.parametrize("name", BY_DISTANCE)
@pytest.mark.parametrize("rows", [1, 2, 7, 30, 64])
def test_the_rows_of_a_block_make_no_difference(name, rows):
    case = Case(build(name), 30, 41)
    with torch.no_grad():
        assert_equal(blocks.distance_blocks(case.module, case.qk(), case.v, rows=rows), case.expected())


@pytest.mark.parametrize(("T", "S"), [(30, 41), (41, 41), (1, 41), (150, 200)])
@pytest.mark.parametrize("rows", [1, 4, 7, 64])
@pytest.mark.parametrize("choice", ["shaw:reach=1", "shaw:reach=5", "shaw:reach=300", "rel-basis:extent=9", "transformer-xl"])
def test_a_score_by_distance_equals_the_plain_softmax_whatever_the_blocks(choice, T, S, rows):
    for cells in (1, 1 << 20):  # one head at a time, all at once
        case, sizes = Case(build(choice), T, S), BlockSizes(cells=max(cells, rows * S), curve_rows=rows)
        with torch.no_grad():
            assert_equal(blocks.curve_blocks(case.module, case.qk(), case.v, sizes), case.expected())


@pytest.mark.parametrize("T", [1, 5, 12])
def test_scattered_positions_equal_the_plain_softmax(encoding_name, T):
    case = Case(build(encoding_name), T, 12)
    case.positions_BxS = torch.stack([torch.arange(12) * 3 + 5, torch.arange(12).square()])
    for dense_keys in (512, 0):
        with torch.no_grad():
            assert_equal(case.attend(sizes=BlockSizes(dense_keys, cells=50, min_rows=1)), case.expected())


@pytest.mark.parametrize("T", [1, 4, 9])
def test_padding_keys_are_left_out(encoding_name, T):
    case = Case(build(encoding_name), T, 9)
    padding_mask = torch.zeros(2, 9, dtype=torch.bool)
    padding_mask[0, :3], padding_mask[1, 4] = True, True
    unread = T - 6 if T > 6 else 0  # rows that are padding themselves
    for cells in (1 << 20, 20):
        with torch.no_grad():
            out = case.attend(padding_mask_BxS=padding_mask, sizes=BlockSizes(cells=cells, min_rows=1))
        assert bool(out.isfinite().all())
        assert_equal(out[1], case.expected(padding_mask)[1])
        assert_equal(out[0, :, unread:], case.expected(padding_mask)[0, :, unread:])


def test_a_mask_without_padding_is_the_same_as_no_mask(encoding_name):
    case, no_padding = Case(build(encoding_name), 9, 9), torch.zeros(2, 9, dtype=torch.bool)
    with torch.no_grad():
        torch.testing.assert_close(case.attend(padding_mask_BxS=no_padding), case.attend(), atol=1e-5, rtol=0)


def test_each_case_reaches_the_kernel_meant_for_it(encoding_name, kernels):
    def reached(grad: bool, dense_keys: int, contiguous: bool) -> set[str]:
        kernels.clear()
        with torch.set_grad_enabled(grad):
            Case(module, 6, 6).attend(contiguous_positions=contiguous, sizes=BlockSizes(dense_keys))
        return set(kernels)

    module = build(encoding_name)
    settings = [(grad, dense, contiguous) for grad in (True, False) for dense in (512, 0) for contiguous in (True, False)]
    if isinstance(module, encoding.DistanceCurve):
        elsewhere = {"eager_blocks" if encoding.overrides(module, "score") else "_plain"}
        assert reached(False, 512, True) == reached(False, 0, True) == {"curve_blocks"}
        assert all(reached(*setting) == elsewhere for setting in settings if setting[0] or not setting[2])
    elif encoding.overrides(module, "score"):
        assert all(reached(*setting) == {"eager_blocks"} for setting in settings)
    elif not encoding.overrides(module, "bias"):
        assert all(reached(*setting) == {"_plain"} for setting in settings)
    else:
        assert all(reached(*setting) == {"dense_bias"} for setting in settings if setting[0] or setting[1])
        assert reached(False, 0, False) == {"bias_blocks"}
        vector = isinstance(module, encoding.DistanceBias)
        assert reached(False, 0, True) == ({"distance_blocks"} if vector else {"bias_blocks"})


def test_a_bias_by_distance_at_length_never_builds_all_pairs(monkeypatch):
    mask_bytes = []

    def spy(q, k, v, attn_mask=None, **options):
        mask_bytes.append(attn_mask.untyped_storage().nbytes())
        return sdpa(q, k, v, attn_mask=attn_mask, **options)

    sdpa = functional.scaled_dot_product_attention
    monkeypatch.setattr(functional, "scaled_dot_product_attention", spy)
    with torch.no_grad():
        Case(build("t5"), 600, 600, batch=1).attend(contiguous_positions=True)
    assert len(mask_bytes) == 3
    assert max(mask_bytes) < 4 * H * 2 * 600


def test_queries_and_values_reach_the_fused_kernel_equally_wide(encoding_name, monkeypatch):
    """Where the widths differ PyTorch's CPU kernel takes a path 4 to 8 times slower."""
    widths = []

    def spy(q, k, v, **options):
        widths.append((q.shape[-1], k.shape[-1], v.shape[-1]))
        return sdpa(q, k, v, **options)

    sdpa = functional.scaled_dot_product_attention
    monkeypatch.setattr(functional, "scaled_dot_product_attention", spy)
    for dense_keys in (512, 0):
        with torch.no_grad():
            out = Case(build(encoding_name), 5, 9).attend(contiguous_positions=True, sizes=BlockSizes(dense_keys))
        assert out.shape == (2, H, 5, D)
    curve = isinstance(build(encoding_name), encoding.DistanceCurve)
    assert bool(widths) != encoding.overrides(build(encoding_name), "score") or curve
    assert all(len(set(three)) == 1 for three in widths)


def test_transformer_xl_takes_part_in_the_padding_of_widths():
    case = Case(build("transformer-xl"), 3, 3)
    q, k = case.module.rotate(case.qk())
    assert q.shape[-1] == k.shape[-1] == D + M


@pytest.mark.parametrize("contiguous", [True, False])
@pytest.mark.parametrize(("T", "S"), [(7, 11), (40, 200), (200, 200)])  # 200 are long enough for the blocks of training
def test_gradients_equal_those_of_the_plain_softmax(encoding_name, contiguous, T, S):
    case = Case(build(encoding_name, max_train_length=400), T, S)
    leaves = [tensor.requires_grad_() for tensor in (case.q, case.k, case.v)]
    leaves += [] if encoding.overrides(case.module, "embed") else list(case.module.parameters())
    weight = torch.randn(2, H, T, D, generator=torch.Generator().manual_seed(9))
    logits = scores(case.module, case.q, case.k, case.x, case.positions_BxS)
    plain = logits.masked_fill(causal_mask(T, S), -torch.inf).softmax(-1) @ case.v
    expected = torch.autograd.grad((plain * weight).sum(), leaves)
    gradients = torch.autograd.grad((case.attend(contiguous_positions=contiguous) * weight).sum(), leaves)
    assert all(float(gradient.abs().max()) > 0 for gradient in expected)
    for gradient, plain_gradient in zip(gradients, expected, strict=True):
        rounding = 1e-5 if S < 200 else 1e-4 * max(1.0, float(plain_gradient.abs().max()))  # of sums over 200 x 200 pairs
        torch.testing.assert_close(gradient, plain_gradient, atol=rounding, rtol=1e-4)


def test_no_kernel_looks_ahead(encoding_name):
    """Whatever stands after a row's own place, however large, does not change it."""
    for dense_keys in (512, 0):
        for contiguous in (True, False):
            context = {"contiguous_positions": contiguous, "sizes": BlockSizes(dense_keys, cells=4 * 20, min_rows=1)}
            case = Case(build(encoding_name), 20, 20)
            with torch.no_grad():
                before = case.attend(**context)
                case.k[:, :, 13:], case.v[:, :, 13:] = 50, 1e4
                after = case.attend(**context)
            torch.testing.assert_close(before[:, :, :13], after[:, :, :13], atol=1e-6, rtol=0)
            changed_T = (before - after).abs().amax(dim=(0, 1, 3)) > 1
            assert changed_T.tolist() == [False] * 13 + [True] * 7


def test_the_mask_lines_up_the_last_rows_with_the_last_keys():
    assert causal_mask(2, 4).tolist() == [[False, False, False, True], [False, False, False, False]]


def test_contiguous_positions_may_start_anywhere(encoding_name):
    for dense_keys in (512, 0):
        case = Case(build(encoding_name), 5, 9, start=70)
        with torch.no_grad():
            assert_equal(case.attend(contiguous_positions=True, sizes=BlockSizes(dense_keys)), case.expected())
