"""Probes on models and matrices made by hand: every number with an answer known beforehand."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers import training as tiny
from helpers.encodings import move_parameters
from torch import Tensor

from rpecli import data
from rpecli.attention import blocks as attention_blocks
from rpecli.evaluate.measure import strings
from rpecli.model import LoadedModel, build
from rpecli.probes import head_patterns as look
from rpecli.probes import invariance as shift
from rpecli.probes import mean_scores as scores
from rpecli.probes import score_terms as terms
from rpecli.probes import similarity, toeplitz
from rpecli.probes.attention_weights import at_rows, layers, tap
from rpecli.probes.inputs import Piece, fillers, pieces

SETTINGS = [{}, {"logit_scale": "ssmax"}, {"normalizer": "stick-breaking"}]
NO_DEVICE = torch.device("cpu")


def untrained_model(encoding: str, **keys: Any) -> LoadedModel:
    """A model that was never trained, its encoding moved away from its initial values."""
    made = build(tiny.config(encoding=encoding, **keys), NO_DEVICE)
    made.model.eval()
    for each in dict.fromkeys(made.model.current):
        move_parameters(each)
    return made


def strings_of(loaded: LoadedModel, length: int = 4) -> list[Any]:
    return strings(loaded.config, loaded.task, length)


def measured(loaded: LoadedModel, moves: list[tuple[str, int]], length: int = 4) -> list[dict[str, Any]]:
    return shift.measure(loaded, length, strings_of(loaded, length), moves, [])


# ---------------------------------------------------------------------------------------------------------------- weights


@pytest.mark.parametrize("keys", SETTINGS, ids=str)
def test_the_weights_computed_again_are_those_the_model_used(
    encoding_name: str, keys: dict[str, Any], model_of: Callable[..., Any], ids_of: Callable[..., Tensor], monkeypatch: Any
) -> None:
    """What goes into a block's last projection is weights times values, whatever the kernel; in blocks of 3 rows."""
    model, ids_BxT = model_of(encoding_name, **keys), ids_of(2, 10)
    monkeypatch.setattr(attention_blocks, "CELLS", 60)
    used: list[Tensor] = []
    for block in model.blocks:
        block.attention.o.register_forward_pre_hook(lambda _, inputs: used.append(inputs[0]))
    with torch.no_grad(), tap(model) as caught:
        model(ids_BxT, torch.arange(10)[None] + 5)
        for block, layer, y_BxTxM in zip(model.blocks, caught, used, strict=True):
            assert len(list(layer.blocks())) > 1
            w_BTxHxT = at_rows(layer, torch.ones(2, 10, dtype=torch.bool))
            v_BxHxTxD = block.attention.v(layer.h_BxTxM).unflatten(-1, (block.attention.n_head, -1)).transpose(1, 2)
            again = w_BTxHxT.unflatten(0, (2, 10)).transpose(1, 2) @ v_BxHxTxD
            torch.testing.assert_close(again.transpose(1, 2).flatten(2), y_BxTxM, atol=2e-4, rtol=1e-3)


def test_attention_in_both_directions_is_computed_again(model_of: Callable[..., Any], ids_of: Callable[..., Tensor]) -> None:
    model, used = model_of("t5", attention="bidirectional"), list[Tensor]()
    model.blocks[1].attention.o.register_forward_pre_hook(lambda _, inputs: used.append(inputs[0]))
    with torch.no_grad(), tap(model) as caught:
        model(ids_of(2, 7))
    weights = at_rows(caught[1], torch.ones(2, 7, dtype=torch.bool))
    v = model.blocks[1].attention.v(caught[1].h_BxTxM).unflatten(-1, (4, -1)).transpose(1, 2)
    again = (weights.unflatten(0, (2, 7)).transpose(1, 2) @ v).transpose(1, 2).flatten(2)
    torch.testing.assert_close(again, used[0], atol=1e-5, rtol=1e-4)
    assert bool((weights[0] > 0).all())  # the first token looks ahead
    torch.testing.assert_close(caught[1].scores(2, 5), caught[1].scores(0, 7)[:, :, 2:5])


def test_a_tap_leaves_nothing_behind(model_of: Callable[..., Any], ids_of: Callable[..., Tensor]) -> None:
    model = model_of("none")
    with tap(model) as caught:
        model(ids_of(1, 4))
    model(ids_of(1, 4))
    assert len(caught) == 2


# ------------------------------------------------------------------------------------------------------------------ shift


def test_an_encoding_that_claims_invariance_does_not_notice_later_positions(encoding_name: str) -> None:
    loaded = untrained_model(encoding_name, n_layer=2)
    (line,) = measured(loaded, [("positions", 64)])
    if all(each.shift_invariant for each in loaded.model.current):
        assert line["logits_max"] < 1e-3
        assert line["kl_max"] < 1e-6
        assert max(line["attention"]) < 1e-4
        assert line["exact_match"] == line["exact_match_before"]


@pytest.mark.parametrize("encoding", ["learned", "sinusoidal", "fire"])
def test_an_encoding_of_absolute_positions_notices(encoding: str) -> None:
    (line,) = measured(untrained_model(encoding, n_layer=2), [("positions", 64)])
    assert line["logits_mean"] > 0.01
    assert line["kl_mean"] > 1e-5
    assert min(line["attention"]) > 0.01


def test_positions_that_were_never_trained_are_counted() -> None:
    loaded = untrained_model("learned")
    loaded.model.current[0].touched_R[:10] = True
    moves = measured(loaded, [("positions", 1), ("positions", 5)])  # ten tokens are read: positions 1..10, 5..14
    assert [line["untrained_positions"] for line in moves] == [0.1, 0.5]


def test_equal_weights_spread_over_fillers_as_over_the_rest() -> None:
    loaded = untrained_model("none")
    with torch.no_grad():
        for block in loaded.model.blocks:
            block.attention.q.weight.zero_()
    (line,) = measured(loaded, [("prefix", 6)])
    rows = [5, 6, 7, 8]  # places that say the 4 answers behind > x x x x |
    share = sum(6 / (6 + i + 1) for i in rows) / 4
    assert line["on_prefix"] == [pytest.approx(share, rel=1e-4)]
    assert line["attention"] == [pytest.approx(share, rel=1e-4)]


def test_fillers_out_of_sight_change_nothing() -> None:
    """A window of two keys, one layer: what stands before the begin token is seen by no answer."""
    (line,) = measured(untrained_model("window:width=2"), [("prefix", 16)])
    assert line["on_prefix"] == [0.0]
    assert line["attention"] == [pytest.approx(0, abs=1e-6)]
    assert line["logits_max"] < 1e-4


def test_fewer_fillers_are_the_last_of_more() -> None:
    loaded = untrained_model("none")
    piece = next(pieces(loaded, 4, strings_of(loaded)))
    few, more = (fillers(loaded, 4, piece, by) for by in (3, 9))
    assert torch.equal(few, more[:, -3:])
    assert len(more.unique()) > 10
    assert int(more.min()) >= 4
    assert not torch.equal(more, fillers(loaded, 5, piece, 9))


def test_content_behind_fillers_stands_at_the_positions_of_the_plain_shift() -> None:
    loaded = untrained_model("none", positions="randomized", positions_per="layer", n_layer=2, max_position=64)
    piece = next(pieces(loaded, 4, strings_of(loaded)))
    there = piece.moved(5, fillers(loaded, 4, piece, 5))
    assert torch.equal(there.positions[..., 5:], piece.moved(5).positions)
    assert there.positions[1, 0, :5].tolist() == [0, 1, 2, 3, 4]
    assert there.answer_BxT.sum() == piece.answer_BxT.sum()
    assert torch.equal(there.inputs_BxT[there.answer_BxT], piece.inputs_BxT[piece.answer_BxT])


def test_pieces_hold_every_string_once_at_the_positions_of_the_evaluation(monkeypatch: Any) -> None:
    monkeypatch.setattr(attention_blocks, "CELLS", 700)
    loaded = untrained_model("none", positions="randomized", max_position=64)
    found = list(pieces(loaded, 4, strings_of(loaded)))
    assert len(found) > 3
    rows = torch.cat([piece.inputs_BxT for piece in found])
    assert torch.equal(rows, torch.from_numpy(strings_of(loaded)[0].tokens_BxT[:, :-1]))
    drawn = data.fixed_positions(loaded.task, loaded.config, strings_of(loaded)[0], "evaluation positions", 0, 4, 0)
    assert all(piece.positions.tolist() == drawn.tolist() for piece in found)


def test_accuracy_before_and_after_and_what_changed_are_counted_apart() -> None:
    """Two strings of two answers: all four right before, one of them wrong after."""
    loaded, sums = untrained_model("none"), shift.Sums()
    answer_BxT = torch.tensor([[False, True, True]] * 2)
    targets_BxT = torch.tensor([[0, 1, 2], [0, 3, 0]])
    piece = Piece(targets_BxT, targets_BxT, answer_BxT, torch.arange(3)[None], block=1, first=0)
    before = torch.nn.functional.one_hot(targets_BxT[answer_BxT], 4).float()
    after = before.clone()
    after[3] = torch.tensor([0.0, 0, 0, 4])
    sums.add(loaded, piece, piece, (before, [torch.ones(4, 1, 3) / 3]), (after, [torch.ones(4, 1, 3) / 3]))
    line = sums.line()
    assert (line["exact_match_before"], line["exact_match"]) == (1, 0.5)
    assert (line["token_accuracy_before"], line["token_accuracy"], line["changed"]) == (1, 0.75, 0.25)
    assert (line["logits_max"], line["logits_mean"]) == (4, 5 / 16)


def test_kl_and_total_variation_of_hand_worked_rows() -> None:
    half, quarter = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.75]]).log()
    assert float(shift._kl(half, quarter)) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    assert float(shift._kl(half, half + 7)) == pytest.approx(0, abs=1e-12)
    assert float(shift.total_variation(torch.tensor([[[1.0, 0]]]), torch.tensor([[[0.25, 0.75]]]))) == 0.75


# ------------------------------------------------------------------------------------------------------------------- look


def looks_at(key: Callable[[int, int, int], int], n: int, weight: float = 1.0) -> look.Looks:
    """A head whose answer rows n+1..2n (as in copying) put `weight` on key(i, t, n), the rest on the row itself."""
    i_N, t_N = torch.arange(n + 1, 2 * n + 1), torch.arange(n)
    w_NxHxT = torch.zeros(n, 1, 2 * n + 2)
    for row, (i, t) in enumerate(zip(i_N.tolist(), t_N.tolist(), strict=True)):
        w_NxHxT[row, 0, i] += 1 - weight
        w_NxHxT[row, 0, key(i, t, n)] += weight
    made = look.Looks(1, 2 * n + 2)
    made.add(w_NxHxT, i_N, t_N, causal=True)
    return made


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (lambda i, t, n: i, "distance 0"),
        (lambda i, t, n: i - 3, "distance 3"),
        (lambda i, t, n: i - n, "distance n"),
        (lambda i, t, n: i - n - 1, "distance n+1"),
        (lambda i, t, n: 0, "place 0"),
        (lambda i, t, n: n + 1, "place n+1"),
        (lambda i, t, n: n - t, "distance 2t+1"),
        (lambda i, t, n: t // 2 + t % 2, None),
    ],
)
def test_a_head_that_looks_by_a_rule_is_named(key: Callable[[int, int, int], int], words: str | None) -> None:
    looks = [{n: looks_at(key, n) for n in (8, 16, 32)}]
    found = look.named(looks, 16, 8)
    assert [each["rule"] for each in found] == ([words] if words else [])
    if words:
        assert found[0]["share"] == {"8": 1.0, "16": 1.0, "32": 1.0}
        assert (found[0]["layer"], found[0]["head"]) == (1, 1)


def test_a_share_is_the_weight_at_the_rule_and_below_half_names_nothing() -> None:
    (found,) = look.named([{n: looks_at(lambda i, t, n: i - n, n, 0.68) for n in (8, 16)}], 16, 8)
    assert found["share"] == {"8": 0.68, "16": 0.68}
    weak = [{n: _spread(looks_at(lambda i, t, n: i - n, n)) for n in (8, 16)}]
    assert look.named(weak, 16, 8) == []


def _spread(made: look.Looks) -> look.Looks:
    """Twice as many rows again that attend equally everywhere: under half is left at the rule."""
    n = made.T // 2 - 1
    made.add(torch.ones(2 * n, 1, made.T), torch.arange(2 * n), torch.zeros(2 * n, dtype=torch.long), causal=True)
    return made


def test_one_answer_token_fits_every_rule_and_is_called_a_distance() -> None:
    made = look.Looks(1, 6)
    made.add(torch.eye(6)[None, 2:3], torch.tensor([4]), torch.tensor([0]), causal=True)
    assert made.best(0) == ("distance", 2, 1.0)


def test_a_distance_that_fails_when_longer_shows_it() -> None:
    broken = {n: looks_at(lambda i, t, n: i - min(n, 16), n) for n in (8, 16, 32)}
    (found,) = look.named([broken], 16, 8)
    assert (found["rule"], found["share"]) == ("distance n", {"8": 1.0, "16": 1.0, "32": 0.0})


def test_distance_entropy_and_weights_by_distance() -> None:
    made = look.Looks(2, 4)
    equal, back = [0.25, 0.25, 0.25, 0.25], [0, 1.0, 0, 0]
    made.add(torch.tensor([[equal, back]]), torch.tensor([3]), torch.tensor([0]), causal=True)
    assert made.facts(0) == {"distance": 1.5, "entropy": round(math.log(4), 4), "uniform": round(math.log(4), 4)}
    assert made.facts(1)["distance"] == 2
    assert made.facts(1)["entropy"] == 0
    assert made.by_distance(causal=True) == [equal, [0, 0, 1.0, 0]]
    assert made.by_distance(causal=False)[1] == [0, 0, 0, 0, 0, 1.0, 0]


# --------------------------------------------------------------------------------------------------------------- toeplitz

CAUSAL = torch.ones(40, 40).tril().bool()
DISTANCE = torch.arange(40)[:, None] - torch.arange(40)


def noise(seed: int) -> Tensor:
    return torch.randn(40, 40, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("seen", [CAUSAL, torch.ones(40, 40).bool()], ids=["causal", "both ways"])
def test_a_function_of_the_distance_is_explained_whole_and_noise_is_not(seen: Tensor) -> None:
    made = toeplitz.fit(torch.sin(DISTANCE / 3.0) + 0.01 * DISTANCE, seen)
    assert made["r2"] == made["r2_row_centered"] == pytest.approx(1, abs=1e-6)
    rough = [toeplitz.fit(noise(seed), seen) for seed in range(5)]
    assert all(each["r2"] < 0.12 and each["r2_row_centered"] < 0.12 for each in rough)
    assert sum(each["r2"] for each in rough) / 5 == pytest.approx(rough[0]["r2_chance"], abs=0.02)


def test_what_is_constant_along_rows_is_free_only_where_softmax_drops_it() -> None:
    made = toeplitz.fit(torch.sin(DISTANCE / 3.0) + 5 * noise(0)[:, :1], CAUSAL)
    assert made["r2_row_centered"] == pytest.approx(1, abs=1e-6)
    assert made["r2"] < 0.5


def test_half_of_the_variance_is_half() -> None:
    signal = torch.sin(DISTANCE / 3.0)
    spread = noise(1) * float(signal[CAUSAL].std())
    assert toeplitz.fit(signal + spread, CAUSAL)["r2"] == pytest.approx(0.5, abs=0.07)


def test_a_constant_has_nothing_to_explain() -> None:
    made = toeplitz.fit(torch.full((40, 40), 3.0), CAUSAL)
    assert (made["r2"], made["r2_row_centered"]) == (None, None)


def test_matrices_that_see_different_pairs_are_fitted_each_over_its_own() -> None:
    near = CAUSAL & (DISTANCE < 5)
    made = toeplitz.fits([(noise(0), CAUSAL), (noise(1), CAUSAL), (noise(1), near)])
    assert made == [toeplitz.fit(noise(0), CAUSAL), toeplitz.fit(noise(1), CAUSAL), toeplitz.fit(noise(1), near)]
    assert made[2]["r2_chance"] == pytest.approx(4 / (int(near.sum()) - 1), abs=1e-6)


# ------------------------------------------------------------------------------------------------------------------ scores


def test_scores_without_an_encoding_are_fitted_as_their_mean_over_strings_is(monkeypatch: Any) -> None:
    loaded = untrained_model("none", n_layer=2)
    whole = list(pieces(loaded, 4, strings_of(loaded)))
    with torch.no_grad():
        means = [layer.scores(0, 10).double().mean(0) for layer in layers(loaded, whole[0])]
        wanted = [[toeplitz.fit(head, torch.ones(10, 10).tril().bool()) for head in layer] for layer in means]
        monkeypatch.setattr(attention_blocks, "CELLS", 700)
        found = scores.measure(loaded, list(pieces(loaded, 4, strings_of(loaded))))
    for layer, expected in zip(found, wanted, strict=True):
        assert [head.pop("head") for head in layer] == [1, 2]
        for head, fit in zip(layer, expected, strict=True):
            assert head == pytest.approx(fit, abs=1e-4)


def test_keys_that_an_encoding_hides_are_no_part_of_the_fit() -> None:
    loaded = untrained_model("window:width=2")
    with torch.no_grad():
        ((first, _),) = scores.measure(loaded, [piece_of(loaded)])
    assert first["r2_chance"] == pytest.approx(1 / (10 + 9 - 1), abs=1e-6)


# ------------------------------------------------------------------------------------------------------------------ terms


def piece_of(loaded: LoadedModel) -> Piece:
    return next(pieces(loaded, 4, strings_of(loaded)))


@pytest.mark.parametrize("encoding", ["learned", "sinusoidal"])
@pytest.mark.parametrize("keys", [{}, {"logit_scale": "logn"}, {"attention": "bidirectional"}], ids=str)
def test_four_terms_add_up_to_the_score(encoding: str, keys: dict[str, Any]) -> None:
    loaded = untrained_model(encoding, **keys)
    norm = loaded.model.blocks[0].norm1
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    piece = piece_of(loaded)
    with torch.no_grad(), tap(loaded.model) as caught:
        loaded.model(piece.inputs_BxT, piece.positions)
        whole = caught[0].scores(0, piece.inputs_BxT.shape[1])
    torch.testing.assert_close(terms.split(loaded.model, piece).sum(0), whole, atol=1e-4, rtol=1e-4)


def test_without_positions_all_is_content_and_without_content_all_is_position() -> None:
    loaded = untrained_model("learned")
    with torch.no_grad():
        kept = loaded.model.current[0].table_RxM.clone()
        loaded.model.current[0].table_RxM.zero_()
        blind = terms.measure(loaded.model, [piece_of(loaded)])
        loaded.model.current[0].table_RxM.copy_(kept)
        loaded.model.embedding.weight.zero_()
        empty = terms.measure(loaded.model, [piece_of(loaded)])
    assert [list(head["share"].values()) for head in blind] == [[1, 0, 0, 0]] * 2
    assert [head["toeplitz"]["r2"] for head in blind] == [None, None]
    assert [list(head["share"].values()) for head in empty] == [[0, 0, 0, 1]] * 2
    assert [list(head["covariance"].values()) for head in empty] == [[0, 0, 0, 1]] * 2


def test_shares_sum_to_1_over_pieces_as_over_the_whole(monkeypatch: Any) -> None:
    loaded = untrained_model("sinusoidal")
    whole = terms.measure(loaded.model, pieces(loaded, 4, strings_of(loaded)))
    monkeypatch.setattr(attention_blocks, "CELLS", 700)
    cut = terms.measure(loaded.model, pieces(loaded, 4, strings_of(loaded)))
    for a, b in zip(whole, cut, strict=True):
        assert sum(a["share"].values()) == pytest.approx(1, abs=1e-5)
        assert sum(a["covariance"].values()) == pytest.approx(1, abs=1e-5)
        assert a["share"] == pytest.approx(b["share"], abs=1e-5)
        assert a["toeplitz"] == pytest.approx(b["toeplitz"], abs=1e-4)


def test_terms_are_for_encodings_that_add_to_the_embeddings() -> None:
    assert [terms.applies(untrained_model(name).model) for name in ("learned", "sinusoidal", "rope", "t5", "none")] == [
        True, True, False, False, False]  # fmt: skip


# ------------------------------------------------------------------------------------------------------------- similarity


def rows(seed: int, heads: int = 3) -> Tensor:
    return torch.randn(20, heads, 9, generator=torch.Generator().manual_seed(seed)).mul(3).softmax(-1)


def test_a_layer_is_like_itself_and_disjoint_heads_are_not_alike() -> None:
    assert similarity.layer(rows(0), rows(0)) == {"mean": 1, "paired": 1, "pairs": [[1, 1], [2, 2], [3, 3]]}
    left, right = torch.tensor([[[1.0, 0]]]), torch.tensor([[[0, 1.0]]])
    assert similarity.layer(left, right) == {"mean": 0, "paired": 0, "pairs": [[1, 1]]}


def test_heads_in_another_order_are_found_again() -> None:
    made = similarity.layer(rows(0), rows(0)[:, [2, 0, 1]])
    assert (made["paired"], made["pairs"]) == (1, [[1, 2], [2, 3], [3, 1]])
    other = similarity.layer(rows(0), rows(1))
    assert 0 < other["paired"] < 0.95


def test_divergence_of_hand_worked_rows() -> None:
    """Between (1, 0) and (1/2, 1/2): H(3/4, 1/4) - H(1/2, 1/2)/2."""
    expected = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) - math.log(2) / 2
    assert similarity.divergence(torch.tensor([[1.0, 0]]), torch.tensor([[0.5, 0.5]])) == pytest.approx(expected)
