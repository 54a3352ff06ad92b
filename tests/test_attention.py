"""Every kernel against the plain row-by-row softmax, and each reached by the case it is meant for."""

import numpy as np
import pytest
import torch
from helpers import reference
from torch import Tensor
from torch.nn import functional

from rpecli import catalog, encoding
from rpecli.attention import blocks as attention_blocks
from rpecli.attention import cpu_float32 as fused
from rpecli.attention import dispatch as attention
from rpecli.attention import reference as attention_reference

M, H, D = 32, 4, 8
FUSED = ("_plain", "_dense_bias", "_distance_blocks", "_curve_blocks", "_bias_blocks", "_eager_blocks")
SHAPES = [(1, 1), (1, 9), (9, 9), (5, 12), (1, 40), (33, 33), (20, 45)]


def build(choice: str, trained: int = 16) -> encoding.Encoding:
    torch.manual_seed(0)
    made = encoding.build(choice, M, H, trained)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.3 * torch.randn(parameter.shape)
    return made


BIASES = [name for name in catalog.names("encodings") if encoding.overrides(build(name), "bias")]
BY_DISTANCE = [name for name in BIASES if isinstance(build(name), encoding.DistanceBias)]


class Case:
    """Queries, keys, values, features and positions of one call of `attend`."""

    def __init__(self, made: encoding.Encoding, T: int, S: int, batch: int = 2, start: int = 0):
        self.made, self.T, self.S = made, T, S
        draw = torch.Generator().manual_seed(T * 1000 + S)
        self.q = torch.randn(batch, H, T, D, generator=draw)
        self.k, self.v = (torch.randn(batch, H, S, D, generator=draw) for _ in range(2))
        self.x = torch.randn(batch, S, M, generator=draw)
        self.positions_1xS = torch.arange(start, start + S)[None]
        with torch.no_grad():
            self.kf = made.features(self.x)
        self.qf = None if self.kf is None else self.kf[:, :, S - T :]

    def attend(self, **options: object) -> Tensor:
        positions = options.pop("positions", self.positions_1xS)
        return attention.attend(self.made, self.q, self.k, self.v, positions, self.qf, self.kf, **options)

    def wanted(self, positions: Tensor | None = None, hidden: Tensor | None = None) -> np.ndarray:
        positions = self.positions_1xS if positions is None else positions
        with torch.no_grad():
            found = attention_reference.scores(self.made, self.q, self.k, self.x, positions, hidden)
        return reference.attention(reference.array(found), reference.array(self.v), None if hidden is None else hidden.numpy())


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The kernels that were reached."""
    reached = set()

    def watched(name, kernel):
        def call(*args, **options):
            reached.add(name)
            return kernel(*args, **options)

        return call

    for name in FUSED:
        monkeypatch.setattr(attention, name, watched(name, getattr(attention, name)))
    return reached


def equal(found: Tensor, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(found.detach().numpy(), wanted, atol=1e-5)


@pytest.mark.parametrize(("T", "S"), SHAPES)
@pytest.mark.parametrize("running", [True, False])
def test_short_sequences_equal_the_plain_softmax(encoding_name, T, S, running):
    case = Case(build(encoding_name), T, S)
    with torch.no_grad():
        equal(case.attend(running=running), case.wanted())
    equal(case.attend(running=running), case.wanted())  # and where gradients are kept


@pytest.mark.parametrize(("T", "S"), SHAPES)
@pytest.mark.parametrize("running", [True, False])
def test_long_sequences_equal_the_plain_softmax_block_by_block(encoding_name, T, S, running, monkeypatch):
    monkeypatch.setattr(attention, "DENSE", 0)
    monkeypatch.setattr(attention_blocks, "CELLS", 8 * S + 1)  # blocks of a few rows
    monkeypatch.setattr(attention_blocks, "ROWS", 1)
    case = Case(build(encoding_name), T, S)
    with torch.no_grad():
        equal(case.attend(running=running), case.wanted())


def test_blocks_hold_one_row_where_not_even_one_fits(encoding_name, monkeypatch):
    monkeypatch.setattr(attention, "DENSE", 0)
    monkeypatch.setattr(attention_blocks, "CELLS", 3)
    monkeypatch.setattr(attention_blocks, "ROWS", 1)
    case = Case(build(encoding_name), 6, 8)
    with torch.no_grad():
        equal(case.attend(), case.wanted())


@pytest.mark.parametrize("T", [513, 270])
def test_a_bias_by_distance_equals_the_plain_softmax_over_several_blocks(T, kernels):
    """513 is two blocks of 256 rows and a row; 270 of 513 begins in the middle of the keys."""
    for name in BY_DISTANCE:
        case = Case(build(name), T, 513, batch=1)
        with torch.no_grad():
            equal(case.attend(running=True), case.wanted())
    assert "_distance_blocks" in kernels


@pytest.mark.parametrize("name", BY_DISTANCE)
@pytest.mark.parametrize("rows", [1, 2, 7, 30, 64])
def test_the_rows_of_a_block_make_no_difference(name, rows):
    case = Case(build(name), 30, 41)
    with torch.no_grad():
        equal(attention_blocks._distance_blocks(case.made, case.q, case.k, case.v, rows=rows), case.wanted())


@pytest.mark.parametrize(("T", "S"), [(30, 41), (41, 41), (1, 41), (150, 200)])
@pytest.mark.parametrize("rows", [1, 4, 7, 64])
@pytest.mark.parametrize("choice", ["shaw:reach=1", "shaw:reach=5", "shaw:reach=300", "rel-basis:extent=9", "transformer-xl"])
def test_a_score_by_distance_equals_the_plain_softmax_whatever_the_blocks(choice, T, S, rows, monkeypatch):
    for cells in (1, 1 << 20):  # one head at a time, all at once
        monkeypatch.setattr(attention_blocks, "CELLS", max(cells, rows * S))
        case = Case(build(choice), T, S)
        with torch.no_grad():
            equal(attention_blocks._curve_blocks(case.made, case.q, case.k, case.v, case.qf, most=rows), case.wanted())


@pytest.mark.parametrize("T", [1, 5, 12])
def test_scattered_positions_equal_the_plain_softmax(encoding_name, T, monkeypatch):
    case = Case(build(encoding_name), T, 12)
    positions_2xS = torch.stack([torch.arange(12) * 3 + 5, torch.arange(12).square()])
    for dense in (512, 0):
        monkeypatch.setattr(attention, "DENSE", dense)
        monkeypatch.setattr(attention_blocks, "CELLS", 50)
        monkeypatch.setattr(attention_blocks, "ROWS", 1)
        with torch.no_grad():
            equal(case.attend(positions=positions_2xS), case.wanted(positions_2xS))


@pytest.mark.parametrize("T", [1, 4, 9])
def test_hidden_keys_are_left_out(encoding_name, T, monkeypatch):
    case = Case(build(encoding_name), T, 9)
    hidden = torch.zeros(2, 9, dtype=torch.bool)
    hidden[0, :3], hidden[1, 4] = True, True
    unread = T - 6 if T > 6 else 0  # rows that stand on padding themselves
    for cells in (1 << 20, 20):
        monkeypatch.setattr(attention_blocks, "CELLS", cells)
        monkeypatch.setattr(attention_blocks, "ROWS", 1)
        with torch.no_grad():
            found = case.attend(hidden_BxS=hidden)
        assert bool(found.isfinite().all())
        equal(found[1], case.wanted(hidden=hidden)[1])
        equal(found[0, :, unread:], case.wanted(hidden=hidden)[0, :, unread:])


def test_nothing_hidden_is_the_same_as_no_padding(encoding_name):
    case = Case(build(encoding_name), 9, 9)
    with torch.no_grad():
        torch.testing.assert_close(case.attend(hidden_BxS=torch.zeros(2, 9, dtype=torch.bool)), case.attend(), atol=1e-5, rtol=0)


def test_each_case_reaches_the_kernel_meant_for_it(encoding_name, kernels, monkeypatch):
    def reached(grad: bool, dense: int, running: bool) -> set[str]:
        kernels.clear()
        monkeypatch.setattr(attention, "DENSE", dense)
        with torch.set_grad_enabled(grad):
            Case(made, 6, 6).attend(running=running)
        return set(kernels)

    made = build(encoding_name)
    settings = [(grad, dense, running) for grad in (True, False) for dense in (512, 0) for running in (True, False)]
    if isinstance(made, encoding.DistanceCurve):
        elsewhere = {"_eager_blocks" if encoding.overrides(made, "score") else "_plain"}
        assert reached(False, 512, True) == reached(False, 0, True) == {"_curve_blocks"}
        assert all(reached(*each) == elsewhere for each in settings if each[0] or not each[2])
    elif encoding.overrides(made, "score"):
        assert all(reached(*each) == {"_eager_blocks"} for each in settings)
    elif not encoding.overrides(made, "bias"):
        assert all(reached(*each) == {"_plain"} for each in settings)
    else:
        assert all(reached(*each) == {"_dense_bias"} for each in settings if each[0] or each[1])
        assert reached(False, 0, False) == {"_bias_blocks"}
        vector = isinstance(made, encoding.DistanceBias)
        assert reached(False, 0, True) == ({"_distance_blocks"} if vector else {"_bias_blocks"})


def test_a_bias_by_distance_at_length_never_builds_all_pairs(monkeypatch):
    seen = []

    def spy(q, k, v, attn_mask=None, **options):
        seen.append(attn_mask.untyped_storage().nbytes())
        return fused(q, k, v, attn_mask=attn_mask, **options)

    fused = functional.scaled_dot_product_attention
    monkeypatch.setattr(functional, "scaled_dot_product_attention", spy)
    with torch.no_grad():
        Case(build("t5"), 600, 600, batch=1).attend(running=True)
    assert len(seen) == 3
    assert max(seen) < 4 * H * 2 * 600


def test_queries_and_values_reach_the_fused_kernel_equally_wide(encoding_name, monkeypatch):
    """Where the widths differ PyTorch's CPU kernel takes a path 4 to 8 times slower."""
    widths = []

    def spy(q, k, v, **options):
        widths.append((q.shape[-1], k.shape[-1], v.shape[-1]))
        return fused(q, k, v, **options)

    fused = functional.scaled_dot_product_attention
    monkeypatch.setattr(functional, "scaled_dot_product_attention", spy)
    for dense in (512, 0):
        monkeypatch.setattr(attention, "DENSE", dense)
        with torch.no_grad():
            out = Case(build(encoding_name), 5, 9).attend(running=True)
        assert out.shape == (2, H, 5, D)
    curve = isinstance(build(encoding_name), encoding.DistanceCurve)
    assert bool(widths) != encoding.overrides(build(encoding_name), "score") or curve
    assert all(len(set(each)) == 1 for each in widths)


def test_transformer_xl_takes_part_in_the_padding():
    made = build("transformer-xl")
    q, k = made.rotate(torch.zeros(1, H, 3, D), torch.zeros(1, H, 3, D), *[torch.arange(3)[None]] * 2, None, None)
    assert q.shape[-1] == k.shape[-1] == D + M


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize(("T", "S"), [(7, 11), (19, 19)])
def test_gradients_equal_those_of_the_plain_softmax(encoding_name, running, T, S, monkeypatch):
    monkeypatch.setattr(fused, "SHORTEST", 12)
    monkeypatch.setattr(fused, "SHORTEST_LEARNED", 12)
    monkeypatch.setattr(fused, "ROWS", 8)
    case = Case(build(encoding_name), T, S)
    leaves = [each.requires_grad_() for each in (case.q, case.k, case.v)]
    leaves += [] if encoding.overrides(case.made, "embed") else list(case.made.parameters())
    weight = torch.randn(2, H, T, D, generator=torch.Generator().manual_seed(9))
    kept = attention_reference.scores(case.made, case.q, case.k, case.x, case.positions_1xS)
    plain = kept.masked_fill(attention_reference.causal_mask(T, S), -torch.inf).softmax(-1) @ case.v
    case.kf = case.made.features(case.x)
    case.qf = None if case.kf is None else case.kf[:, :, S - T :]
    wanted = torch.autograd.grad((plain * weight).sum(), leaves)
    found = torch.autograd.grad((case.attend(running=running) * weight).sum(), leaves)
    assert all(float(each.abs().max()) > 0 for each in wanted)
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


def test_no_kernel_looks_ahead(encoding_name, monkeypatch):
    """Whatever stands behind a row's own place, however large, does not change it."""
    monkeypatch.setattr(attention_blocks, "CELLS", 4 * 20)
    monkeypatch.setattr(attention_blocks, "ROWS", 1)
    for dense in (512, 0):
        for running in (True, False):
            monkeypatch.setattr(attention, "DENSE", dense)
            case = Case(build(encoding_name), 20, 20)
            with torch.no_grad():
                before = case.attend(running=running)
                case.k[:, :, 13:], case.v[:, :, 13:] = 50, 1e4
                after = case.attend(running=running)
            torch.testing.assert_close(before[:, :, :13], after[:, :, :13], atol=1e-6, rtol=0)
            moved_T = (before - after).abs().amax(dim=(0, 1, 3)) > 1
            assert moved_T.tolist() == [False] * 13 + [True] * 7


def test_the_mask_lines_up_the_last_rows_with_the_last_keys():
    assert attention_reference.causal_mask(2, 4).tolist() == [[False, False, False, True], [False, False, False, False]]


def test_positions_from_anywhere_serve_running_kernels(encoding_name, monkeypatch):
    """`running` promises consecutive positions, not that they start at 0."""
    for dense in (512, 0):
        monkeypatch.setattr(attention, "DENSE", dense)
        case = Case(build(encoding_name), 5, 9, start=70)
        with torch.no_grad():
            equal(case.attend(running=True), case.wanted())
