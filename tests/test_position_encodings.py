"""What single encodings by position and by token claim beyond what all of them do."""

import math

import numpy as np
import pytest
import torch
from helpers import reference, reference_position, reference_recent
from helpers.encodings import BOTH, D, H, M, build, draw, move_parameters, query_key, visible
from torch import Tensor
from torch.nn import functional

from rpecli import encoding, task
from rpecli.attention.blocks import BlockSizes
from rpecli.attention.cache import Cache
from rpecli.attention.dispatch import attend, kernel
from rpecli.attention.reference import scores
from rpecli.encoding import QueryKey
from rpecli.encodings import _rotary as rotary

reference.PAIR.update(reference_position.PAIR | reference_recent.PAIR)


@pytest.mark.parametrize(("buckets", "max_distance"), [(32, 128), (16, 64), (15, 20), (4, 2)])
def test_t5_buckets_in_both_directions_are_half_for_each_side(buckets, max_distance):
    module = build(f"t5:buckets={buckets}:max_distance={max_distance}", causal=False)
    behind = [reference.bucket(d, buckets // 2, max_distance) for d in range(400)]
    assert module.bucket(torch.arange(400)).tolist() == behind
    assert module.bucket(-torch.arange(1, 400)).tolist() == [b + buckets // 2 for b in behind[1:]]


@pytest.mark.parametrize(
    "choice", ["rope:scaling=yarn", "rope:scaling=dynamic:factor=2", "rope:scaling=llama3", "rope:scaling=ntk"]
)
def test_scaled_rope_is_plain_rope_up_to_the_trained_length(choice):
    q, k = draw(1, 32, seed=1), draw(1, 32, seed=2)
    torch.testing.assert_close(scores(build(choice), q, k), scores(build("rope"), q, k), atol=1e-5, rtol=0)
    beyond = torch.arange(1, 33)  # one past the trained 32 positions
    change = scores(build(choice), q, k, positions=beyond) - scores(build("rope"), q, k)
    assert float(change.abs().max()) > 1e-4


@pytest.mark.parametrize(("width", "train_length", "factor"), [(16, 64, 4.0), (64, 512, 8.0), (128, 4096, 16.0), (4, 20, 3.0)])
@pytest.mark.parametrize("kind", [kind for kind in rotary.SCALINGS if kind != "none"])
@pytest.mark.parametrize("growth", [0.5, 1, 2, 64])
def test_scaled_frequencies_follow_their_formulas(kind, width, train_length, factor, growth):
    length = int(growth * train_length)
    for f in (factor, 0.0):
        scaling = rotary.Scaling(kind, f, 10000.0, train_length)
        w_C, magnitude = scaling.scaled(rotary.frequencies(width, 10000.0), torch.tensor([[3, length - 1]]))
        for c, w in enumerate(w_C.tolist()):
            expected, expected_magnitude = reference_position.scaled_frequency(kind, f, (width, 10000), c, train_length, length)
            assert w == pytest.approx(expected, rel=1e-12)
            assert magnitude == pytest.approx(expected_magnitude)


def test_longrope_divides_each_frequency_by_its_factor_beyond_the_trained_length() -> None:
    """Values of transformers 5.23, modeling_rope_utils: width 16, trained to 64, factor 4, factors 1 to 1.2."""
    factors = [1 + 0.2 * c / 7 for c in range(8)]
    scaling = rotary.Scaling("longrope", 4.0, 10000.0, 64, tuple(factors))
    beyond_C, magnitude = scaling.scaled(rotary.frequencies(16, 10000.0), torch.tensor([[3, 64]]))
    expected = [1.0, 0.30744365, 0.094594598, 0.029126240, 0.0089743584, 0.0027669929, 0.00085365854, 0.00026352314]
    assert beyond_C.tolist() == pytest.approx(expected, rel=1e-6)
    assert magnitude == pytest.approx(1.1547005)
    within_C, plain = scaling.scaled(rotary.frequencies(16, 10000.0), torch.tensor([[3, 63]]))
    assert torch.equal(within_C, rotary.frequencies(16, 10000.0))
    assert plain == 1
    module = build("rope:scaling=longrope:factors=1/2/3/4/5/6/7/8")
    assert (module.fit(64), module.fit(20)) == (2.0, 1.0), "the factor is the growth; here 32 positions were trained"


@pytest.mark.parametrize("position", [1, 500, 10**6, 2**24 + 1, 10**9])
def test_angles_far_along_are_those_of_the_formula(position):
    w_C = rotary.frequencies(64, 10000.0)
    angle_1xC = rotary.angles(torch.tensor([position]), w_C)
    assert angle_1xC.dtype == torch.float32
    for angle, c in zip(angle_1xC[0].tolist(), range(32), strict=True):
        exact = math.fmod(position * 10000 ** (-2 * c / 64), 2 * math.pi)
        assert abs(math.remainder(angle - exact, 2 * math.pi)) < 3e-7 + 1e-15 * position


@pytest.mark.parametrize("choice", ["sinusoidal", "self-extend:group=8", "rerope:leak=3", "xpos"])
def test_positions_past_those_of_float32_are_told_apart(choice):
    """2^24 + 1 is the first whole number that is none of float32's."""
    positions = torch.arange(24) + 2**24
    if choice == "sinusoidal":
        wave_BxTxM = build(choice).embed(torch.zeros(1, 24, M), positions[None], torch.zeros(1, 24, dtype=torch.long))
        expected = [[math.sin(p * 10000 ** (-2 * c / M)) for c in range(M // 2)] for p in positions.tolist()]
        torch.testing.assert_close(wave_BxTxM[0, :, 0::2], torch.tensor(expected), atol=1e-6, rtol=0)
    else:
        q, k = draw(1, 24, seed=1), draw(1, 24, seed=2)
        far, near = (scores(build(choice), q, k, positions=p).tril() for p in (positions, positions - 2**24))
        torch.testing.assert_close(far, near, atol=5e-6, rtol=0)


SCALINGS = ["pi", "ntk", "dynamic", "dynamic:factor=2", "yarn", "llama3", "pi:factor=2"]


@torch.no_grad()
@pytest.mark.parametrize("times", [2, 4])
@pytest.mark.parametrize("scaling", SCALINGS)
def test_greedy_decoding_agrees_with_teacher_forcing_at_a_fixed_factor(model_of, ids_of, scaling, times):
    model, n, cache = model_of(f"rope:scaling={scaling}", max_train_length=16), 16 * times, Cache()
    factor = model.fit(n)
    growth = {"dynamic:factor=2": 2 * times - 1, "pi:factor=2": 2}.get(scaling, times)
    assert factor == growth
    ids, states = ids_of(2, 4), []
    new = ids
    for _ in range(n - 4):
        states.append(model(new, cache=cache)[:, -1:])
        new = model.head(states[-1]).argmax(-1)
        ids = torch.cat([ids, new], dim=1)
    forced = model(ids)
    torch.testing.assert_close(torch.cat(states, dim=1), forced[:, 3:-1], atol=1e-5, rtol=0)
    assert torch.equal(model.head(forced[:, 3:-1]).argmax(-1), ids[:, 4:])
    if scaling != "pi:factor=2":  # without, the last row turns all others by a factor that decoding did not know
        unfit = model_of(f"rope:scaling={scaling}", max_train_length=16)
        assert float((unfit(ids[:, : n // 2 + 1])[:, :-1] - unfit(ids)[:, : n // 2]).abs().max()) > 1e-3


def test_xpos_refuses_positions_whose_exponents_it_would_cut():
    longest = int(160 * 512 / math.log(1.4 / 0.4))
    build("xpos").fit(longest)
    for refused in (lambda: build("xpos").fit(longest + 1), lambda: build("xpos", max_train_length=longest + 1)):
        with pytest.raises(ValueError, match=f"xPos overflows past {longest}"):
            refused()


@torch.no_grad()
@pytest.mark.parametrize("span", [10**6, 2**24 + 100, 999_999_999])
@pytest.mark.parametrize("choice", [choice for choice in reference.PAIR if not choice.startswith("xpos")])
def test_logits_follow_the_formula_however_far_apart_positions_are(choice, span):
    module, q, k = move_parameters(build(choice)), draw(1, 9, seed=1), draw(1, 9, seed=2)
    positions = torch.tensor([[0, 1, 17, span // 3, span // 2, span // 2 + 5, span - 18, span - 2, span - 1]])
    logits = scores(module, q, k, positions=positions).numpy() * visible(9, 9)
    with np.errstate(over="ignore"):
        expected = reference.logits(choice, module, q, k, positions)
    np.testing.assert_allclose(logits, expected, atol=2e-5, rtol=2e-5)


@torch.no_grad()
def test_scaling_goes_by_the_whole_sequence_in_every_block(model_of, ids_of):
    """With padding, rows are served in blocks that see more and more keys; all rotate by the frequencies of the last position."""
    for choice in ("rope:scaling=ntk", "rope:scaling=dynamic:factor=4"):
        model, padding_mask = model_of(choice, max_train_length=8), torch.zeros(1, 24, dtype=torch.bool)
        padding_mask[:, -1] = True
        whole = model(ids_of(1, 24), padding_mask_BxT=padding_mask)
        model.block_sizes = BlockSizes(cells=3 * 24, min_rows=1)
        in_blocks = model(ids_of(1, 24), padding_mask_BxT=padding_mask)
        torch.testing.assert_close(in_blocks[:, :-1], whole[:, :-1], atol=1e-5, rtol=0)


def test_p_rope_of_every_pair_is_rope_and_its_last_channels_do_not_turn():
    q, k = draw(1, 9, seed=1), draw(1, 9, seed=2)
    torch.testing.assert_close(scores(build("p-rope:p=1"), q, k), scores(build("rope"), q, k))
    q[..., :8], k[..., :8] = 0, 0
    plain = scores(build("none"), q, k)
    torch.testing.assert_close(scores(build("p-rope:p=0.5"), q, k), plain)
    assert float((scores(build("rope"), q, k) - plain).abs().max()) > 1e-3


def test_xpos_is_finite_wherever_the_keys_are():
    q, k, module = draw(1, 9, seed=1), draw(1, 9, seed=2), build("xpos")
    itself = (q * k).sum(-1) / D**0.5
    for positions in (torch.arange(9) + 10_000_000, torch.arange(9) * 8_000, torch.arange(9) * 100_000):
        logits = scores(module, q, k, positions=positions)
        assert bool(logits.tril().isfinite().all())
        torch.testing.assert_close(logits.diagonal(dim1=2, dim2=3), itself, atol=1e-4, rtol=1e-4)
        assert bool(attend(module, QueryKey.last(q, k, positions[None]), k).isfinite().all())


def test_xpos_fades_by_the_distance_however_far_along_the_keys_are():
    q, k, module = draw(1, 9, seed=1), draw(1, 9, seed=2), build("xpos:scale_base=4")  # fades to 0.08 over these keys
    logits = scores(module, q, k, positions=torch.arange(9) + 1000)
    torch.testing.assert_close(logits.tril(), scores(module, q, k).tril(), atol=2e-3, rtol=0)


def test_pope_is_twice_as_wide_and_its_angles_stay_in_their_range():
    module, inside, q, k = build("pope"), build("pope"), draw(1, 3, seed=1), draw(1, 3, seed=2)
    with torch.no_grad():
        module.bias_HxD[:] = torch.linspace(-20, 10, H * D).view(H, D)
        inside.bias_HxD[:] = module.bias_HxD.clamp(-2 * torch.pi, 0)
    wide_q, wide_k = module.rotate(query_key(q, k))
    assert wide_q.shape[-1] == wide_k.shape[-1] == 2 * D
    assert torch.equal(scores(inside, q, k), scores(module, q, k))


@BOTH
def test_a_window_hides_all_but_the_nearest_tokens(causal):
    module = build("window:width=3", causal=causal)
    q, k, v = draw(1, 9, seed=1), draw(1, 9, seed=2), torch.eye(9)[None, None].expand(1, H, 9, 9)
    visible_TxS = attend(module, query_key(q, k), functional.pad(v, (0, D - 9)))[0, 0, :, :9] > 0
    assert visible_TxS.tolist() == [[abs(i - j) < 3 and (j <= i or not causal) for j in range(9)] for i in range(9)]


def test_hard_alibi_limits_half_of_the_heads_unless_told_otherwise():
    def reach(choice: str, n_head: int) -> list[int]:
        bias_HxN = build(choice, n_head=n_head, d_model=16 * n_head).by_distance(torch.arange(100.0))
        return [int((row == 0).sum()) for row in bias_HxN]

    assert reach("hard-alibi", 4) == [1, 2, 100, 100]
    assert reach("hard-alibi:masked=3", 4) == [1, 2, 3, 100]
    assert reach("hard-alibi", 1) == [100]
    assert reach("hard-alibi", 16) == [1, 2, 3, 4, 5, 6, 7, 8] + [100] * 8


@pytest.mark.parametrize("choice", ["window:width=2", "hard-alibi:masked=4"])
def test_a_window_full_of_padding_leaves_numbers(model_of, ids_of, choice):
    """A padding token whose window holds nothing else: what comes out of its row must not poison the next layer."""
    padding_mask = torch.zeros(1, 9, dtype=torch.bool)
    padding_mask[:, 3:7] = True
    assert bool(model_of(choice)(ids_of(1, 9), padding_mask_BxT=padding_mask).isfinite().all())


def test_alibi_with_learned_slopes_starts_as_alibi_and_learns():
    module, q, k = build("alibi:learned=true"), draw(1, 9, seed=1), draw(1, 9, seed=2)
    torch.testing.assert_close(scores(module, q, k), scores(build("alibi"), q, k))
    assert [name for name, _ in module.named_parameters()] == ["log_slope_H"]
    assert not list(build("alibi").parameters())


def test_kerple_keeps_its_parameters_in_their_bounds():
    distance = torch.arange(1, 9.0)

    def bias(choice: str, p: float, a: float) -> Tensor:
        module = build(choice)
        with torch.no_grad():
            module.p_H[:], module.a_H[:] = p, a
            return module.by_distance(distance)[0]

    torch.testing.assert_close(bias("kerple-power", 5, 1), -(distance**2))
    torch.testing.assert_close(bias("kerple-power", -1, -1), -0.01 * distance**0.01)
    torch.testing.assert_close(bias("kerple-log", -1, -1), -0.01 * torch.log1p(0.01 * distance))


UNIFORM = {  # choice: (parameter, lowest, highest)
    "kerple-log": [("p_H", 0, 2), ("a_H", 0, 1)],
    "kerple-power:weighted=true": [("p_H", 0, 2), ("a_H", 0, 1), ("weight_p_H", 0, 2), ("weight_a_H", 0, 1)],
    "pope:start=uniform": [("bias_HxD", -2 * np.pi, 0)],
    "pope": [("bias_HxD", 0, 0)],
}


@pytest.mark.parametrize("choice", UNIFORM)
def test_parameters_drawn_from_a_range_fill_it(choice):
    module = build(choice, d_model=400, n_head=200)
    for name, low, high in UNIFORM[choice]:
        initial, slack = getattr(module, name).detach(), 0.05 * (high - low)
        assert low <= float(initial.min()) <= low + slack
        assert high - slack <= float(initial.max()) <= high


def test_tisa_starts_with_shallow_curves_scattered_around_the_token():
    module = build("tisa:kernels=200")
    for parameter, mean, std in ((module.a_KxH, 0.1, 0.01), (module.b_KxH, 0.1, 0.01), (module.c_KxH, 0, 5)):
        assert float(parameter.detach().mean()) == pytest.approx(mean, abs=0.2 * std)
        assert float(parameter.detach().std()) == pytest.approx(std, rel=0.15)


def added(module: encoding.Encoding, ids: Tensor) -> Tensor:
    return module.embed(torch.zeros(*ids.shape, M), torch.arange(ids.shape[1])[None], ids).detach()


DIGITS = torch.tensor([[1, 4, 9, 5, 2, 6, 4, 4, 3, 0], [7, 2, 2, 4, 8, 13, 14, 4, 5, 3]])


@pytest.mark.parametrize("digits", [0, 1, 10])
def test_abacus_counts_within_each_run_of_digits(digits):
    module = build(f"abacus:digits={digits}").eval()
    expected = [reference_position.places(row, digits) for row in DIGITS.tolist()]
    assert torch.equal(added(module, DIGITS), module.table.table_RxM.detach()[torch.tensor(expected)])


def test_abacus_goes_on_in_the_middle_of_a_number():
    """The tokens so far come along, so that decoding one token knows how long its number is already."""
    module = build("abacus").eval()
    last = module.embed(torch.zeros(2, 3, M), torch.arange(7, 10)[None], DIGITS)
    assert torch.equal(last.detach(), added(module, DIGITS)[:, 7:])


def test_abacus_in_training_moves_the_rows_of_digits_by_one_number_for_the_batch():
    module, numbers = build("abacus:max_k=5").train(), set()
    for n in range(40):
        ids = (DIGITS + n % 3 * (DIGITS >= task.SPECIAL)).roll(n, 1)
        place = torch.tensor([reference_position.places(row) for row in ids.tolist()])
        row = torch.cdist(added(module, ids).flatten(0, 1), module.table.table_RxM.detach()).argmin(-1).view(place.shape)
        k = {int(offset) for offset in (row - place)[place > 0]}
        assert len(k) == 1
        assert bool((row[place == 0] == 0).all())
        numbers |= k
    assert numbers == {0, 1, 2, 3, 4, 5}


def test_abacus_moves_by_the_batch_and_the_seed_alone():
    """So that a run that was stopped goes on bit for bit, whatever random numbers were drawn meanwhile."""
    first, embedded = build("abacus").train(), added(build("abacus").train(), DIGITS)
    torch.rand(3)
    assert torch.equal(added(first, DIGITS), embedded)
    other = build("abacus").train()
    other.table.seed += 1
    assert not torch.equal(added(other, DIGITS), embedded)


def test_abacus_evaluates_numbers_longer_than_any_it_was_trained_on():
    module, ids, positions = build("abacus:max_k=4").eval(), torch.full((1, 3000), 5), torch.arange(3000)[None]
    assert torch.equal(added(module, ids)[:, :2500], added(module, ids[:, :2500]))
    assert module.untrained(positions) == 0, "positions alone do not tell"
    assert module.untrained(positions, ids) == 3000
    added(module.train(), ids[:, :10])  # rows k+1 .. k+10, k at most 4
    assert 3000 - 10 <= module.eval().untrained(positions, ids) <= 3000 - 10 + 4 - 4
    assert module.untrained(positions, torch.full((1, 3000), 2)) == 3000, "no digit was left out, so row 0 is new"


def test_bipe_in_one_segment_is_a_learned_table_and_no_encoding_of_the_scores(model_of, ids_of):
    bipe, learned, ids = model_of("bipe:rows=512"), model_of("learned"), ids_of(2, 9).clamp(min=task.SPECIAL)
    bipe.load_state({name.replace("encodings.0.", "encodings.0.table."): x for name, x in learned.state().items()})
    with torch.no_grad():
        torch.testing.assert_close(bipe(ids), learned(ids))


@pytest.mark.parametrize("over", ["rope", "alibi", "t5", "shaw"])
def test_bipe_of_segments_of_one_token_is_what_it_stands_over(model_of, over):
    """Every token is a bar: place 0 for all, and the numbers of the segments are the positions."""
    bipe, plain, ids = model_of(f"bipe:over={over}"), model_of(over), torch.full((2, 9), task.SEP)
    own = {name: x for name, x in bipe.state().items() if ".table." not in name}
    plain.load_state({name.replace(".over.", "."): x for name, x in own.items()})
    with torch.no_grad():
        bipe.encodings[0].table.table_RxM.zero_()
        torch.testing.assert_close(bipe(ids), plain(ids))


def test_bipe_does_not_count_padding_and_blank_tokens():
    module, ids = build("bipe"), torch.tensor([[task.PAD, task.PAD, 5, 6, task.SEP, 7, task.PAD, 8, task.END, task.PAD]])
    assert module.places(ids).tolist() == [[0, 0, 0, 1, 2, 0, 0, 1, 2, 0]]
    assert module.relocate(torch.arange(10)[None], ids).tolist() == [[0, 0, 0, 0, 0, 1, 1, 1, 1, 2]]


def test_bipe_tells_rows_that_training_never_met():
    module, ids = build("bipe:rows=8").train(), torch.full((1, 20), 5)
    added(module, ids[:, :6])
    assert module.eval().untrained(torch.arange(20)[None], ids) == 20 - 6
    assert module.untrained(torch.arange(6)[None], ids[:, :6]) == 0


@pytest.mark.parametrize("other", ["rope", "t5", "fire", "shaw", "learned"])
def test_abacus_over_another_encoding_is_both(model_of, ids_of, other):
    """The scores of the other one, its kernel, and the vectors of the digits once, whatever the layers share."""
    module, plain = build(f"abacus:over={other}"), build(other)
    hooks = ("features", "rotate", "bias", "score")
    assert [encoding.overrides(module, hook) for hook in hooks] == [encoding.overrides(plain, hook) for hook in hooks]
    assert kernel(module) == kernel(plain)
    assert (module.group, module.shared, module.shift_invariant) == ("APE", plain.shared, plain.shift_invariant)
    plain.load_state_dict(module.over.state_dict())
    q, k = draw(1, 9, seed=1), draw(1, 9, seed=2)
    torch.testing.assert_close(scores(module, q, k), scores(plain, q, k))
    model, ids = model_of(f"abacus:over={other}", n_layer=3), ids_of(2, 9)
    assert sum(module.table is not None for module in set(model.encodings)) == 1
    with torch.no_grad():
        before = model(ids)
        model.encodings[0].table.table_RxM[1:] += torch.randn(M // 2)
        assert float((model(ids) - before).abs().max()) > 1e-3
