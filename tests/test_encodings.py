"""Every encoding against its formula written another way, and against what it claims of itself."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import reference, reference_position
from helpers.encodings import BOTH, D, H, M, build, built, draw, model_in, moved, no_future, positions_of
from torch import Tensor

from rpecli import catalog, encoding
from rpecli.attention import reference as attention_reference
from rpecli.choice import ChoiceError

reference.PAIR.update(reference_position.PAIR)

# ---------------------------------------------------------------------------------------------------------------- formulas


@BOTH
@pytest.mark.parametrize("choice", reference.PAIR)
@pytest.mark.parametrize(("kind", "n"), [("start", 7), ("start", 48), ("offset", 7), ("scattered", 7), ("scattered", 24)])
def test_logits_follow_the_formula_pair_by_pair(choice, kind, n, causal):
    made, batch = moved(built(choice, causal)), 2 if n == 7 else 1
    q, k, positions = draw(batch, n, seed=1), draw(batch, n, seed=2), positions_of(kind, n)
    with torch.no_grad():
        found = attention_reference.scores(made, q, k, positions=positions).numpy() * no_future(n, n, causal)
    np.testing.assert_allclose(found, reference.logits(choice, made, q, k, positions.expand(batch, n)), atol=1e-4, rtol=1e-6)


@BOTH
@pytest.mark.parametrize("choice", reference.PAIR)
def test_the_last_rows_alone_have_the_logits_they_have_among_all(choice, causal):
    made, q, k = moved(built(choice, causal)), draw(2, 3, seed=1), draw(2, 7, seed=2)
    positions_2xS = torch.cat([positions_of("scattered", 7), positions_of("offset", 7)])
    with torch.no_grad():
        found = attention_reference.scores(made, q, k, positions=positions_2xS).numpy() * no_future(3, 7, causal)
    np.testing.assert_allclose(found, reference.logits(choice, made, q, k, positions_2xS), atol=1e-4, rtol=1e-6)


@pytest.mark.parametrize("choice", reference.EMBED)
@pytest.mark.parametrize("kind", ["start", "offset", "scattered"])
def test_the_vector_added_to_a_token_follows_the_formula(choice, kind):
    made, positions = moved(build(choice)), positions_of(kind, 64)
    x = torch.randn(2, 64, M, generator=torch.Generator().manual_seed(1))
    row, options = reference.EMBED[choice]
    with torch.no_grad():
        found = made.embed(x, positions, torch.zeros(2, 64, dtype=torch.long)) - x
        wanted = np.array([row(made, i, **options) for i in positions[0].tolist()])
    np.testing.assert_allclose(found.numpy(), np.stack([wanted, wanted]), atol=2e-5)


@pytest.mark.parametrize("n_head", range(1, 13))
def test_alibi_has_the_papers_slopes_for_any_number_of_heads(n_head):
    made = build("alibi", d_model=4 * n_head, n_head=n_head)
    bias_HxS = made.by_distance(torch.arange(5.0))
    wanted = [[-reference.slope(h, n_head) * d for d in range(5)] for h in range(n_head)]
    np.testing.assert_allclose(bias_HxS.numpy(), wanted, rtol=1e-6)


def test_alibi_of_six_heads_follows_the_formula_pair_by_pair():
    made, q, k = build("alibi", d_model=96, n_head=6), draw(1, 9, 6, seed=1), draw(1, 9, 6, seed=2)
    found = attention_reference.scores(made, q, k).numpy() * no_future(9, 9)
    np.testing.assert_allclose(found, reference.logits("alibi", made, q, k, torch.arange(9)[None]), atol=1e-5)


@pytest.mark.parametrize(("buckets", "max_distance"), [(32, 128), (32, 1024), (16, 64), (64, 256), (7, 20), (2, 2)])
def test_t5_buckets_equal_exact_arithmetic(buckets, max_distance):
    made = build(f"t5:buckets={buckets}:max_distance={max_distance}")
    found = made.bucket(torch.arange(-3, 2100)).tolist()
    assert found[:3] == [0, 0, 0]
    assert found[3:] == [reference.bucket(d, buckets, max_distance) for d in range(2100)]


def test_the_two_pairings_of_rope_are_one_model_up_to_the_order_of_channels():
    q, k = draw(1, 9, seed=1), draw(1, 9, seed=2)
    order = torch.arange(D).view(D // 2, 2).T.flatten()
    half = attention_reference.scores(build("rope:pairing=half"), q[..., order], k[..., order])
    torch.testing.assert_close(half, attention_reference.scores(build("rope"), q, k), atol=1e-5, rtol=0)


def test_transformer_xl_shares_its_query_biases_across_layers_and_not_its_matrix():
    first, second = encoding.for_layers("transformer-xl", encoding.Shape(M, H), 2)
    assert first.u_HxD is second.u_HxD
    assert first.v_HxD is second.v_HxD
    assert not torch.equal(first.w_HxDxM, second.w_HxDxM)


def fire_with(seed: int) -> encoding.Encoding:
    """Weights on either side of every case: units that bend between 0 and 1, that are always lit, that are never lit."""
    made = build("fire", trained=16)
    with torch.no_grad():
        for parameter in made.mlp.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)))
    return made


def test_fire_sees_inputs_between_0_and_1_only_however_long_the_sequence(monkeypatch):
    made, seen, positions = build("fire", trained=16), [], torch.arange(400)[None]
    monkeypatch.setattr(made, "_by_share", lambda share_N: seen.append(share_N.detach()) or torch.zeros(H, len(share_N)))
    made.bias(positions, positions)
    assert float(seen[0].min()) == 0
    assert 0.99 < float(seen[0].max()) <= 1


@pytest.mark.parametrize("seed", range(5))
def test_fire_is_its_network_with_the_straight_units_added_up(seed):
    made, share_N = fire_with(seed), torch.linspace(0, 1, 500)
    weight_HxN = torch.randn(H, 500, generator=torch.Generator().manual_seed(9))
    short, whole = made._by_share(share_N, chunk=64), made.mlp(share_N[:, None]).T
    torch.testing.assert_close(short, whole, atol=2e-5, rtol=0)
    torch.testing.assert_close(torch.func.vmap(made._by_share)(share_N[None])[0], whole, atol=2e-5, rtol=0)
    leaves = list(made.mlp.parameters())
    found, wanted = (torch.autograd.grad((each * weight_HxN).sum(), leaves) for each in (short, whole))
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-3, rtol=1e-4)


INITIAL = {  # choice: (parameter, the standard deviation its file states)
    "learned": ("table_RxM", 1.0),
    "learned:std=0.02": ("table_RxM", 0.02),
    "t5": ("table_NxH", M**-0.5),
    "transformer-xl": ("w_HxDxM", 0.02),
    "shaw": ("table_NxD", D**-0.5),
}


@pytest.mark.parametrize("choice", INITIAL)
def test_learned_parameters_start_as_their_file_says(choice):
    name, std = INITIAL[choice]
    drawn = getattr(build(choice), name).detach()
    assert float(drawn.std()) == pytest.approx(std, rel=0.15)
    assert abs(float(drawn.mean())) < 0.2 * std


# -------------------------------------------------------------------------------------------------------- what each claims


def spread(model_of, choice: str, shift: int, causal: bool) -> float:
    """The largest change of a model's logits when every position moves by `shift`."""
    model, ids = model_in(model_of, choice, causal), torch.arange(12)[None] % 7
    moved(model.encodings[0])
    with torch.no_grad():
        here, there = (model.head(model(ids, torch.arange(12) + start)) for start in (0, shift))
    return float((here - there).abs().max())


# Options that change whether an encoding is shift invariant
CLAIMS = [
    "rope:scaling=yarn",
    "rope:scaling=yarn:factor=4",
    "rope:scaling=dynamic:factor=4",
    "abacus:over=fire",
    "abacus:over=t5",
]
CHOICES = [*catalog.names("encodings"), *CLAIMS]


@BOTH
@pytest.mark.parametrize("shift", [1, 64, 500])
@pytest.mark.parametrize("choice", CHOICES)
def test_moving_every_position_changes_nothing_where_an_encoding_says_so(model_of, choice, shift, causal):
    if not built(choice, causal).shift_invariant:
        pytest.skip("makes no such claim")
    assert spread(model_of, choice, shift, causal) < 1e-4


@BOTH
@pytest.mark.parametrize("choice", CHOICES)
def test_moving_every_position_changes_the_logits_where_an_encoding_says_so(model_of, choice, causal):
    if built(choice, causal).shift_invariant:
        pytest.skip("claims the opposite")
    assert spread(model_of, choice, 61, causal) > 0.01  # no multiple of a group of positions


def test_an_encoding_is_described(encoding_name):
    path = catalog.find("encodings", encoding_name)
    cls = catalog.load_class("encodings", encoding_name, encoding.Encoding)
    assert cls.group in encoding.GROUPS
    assert cls.paper
    assert cls.unseen
    assert catalog.summary(path).endswith(".")
    assert catalog.summary(path)[0].isupper()
    assert "_i" in (catalog.load(path).__doc__ or ""), "the docstring gives the formula"


def test_the_group_read_without_importing_is_the_one_of_the_class(encoding_name):
    cls = catalog.load_class("encodings", encoding_name, encoding.Encoding)
    read = catalog.class_constants(catalog.find("encodings", encoding_name)).get("group", encoding.Encoding.group)
    assert read == cls.group


def test_absolute_encodings_add_to_the_embedding_and_relative_ones_to_the_score(encoding_name):
    made = build(encoding_name)
    on_scores = any(encoding.overrides(made, hook) for hook in ("rotate", "bias", "score"))
    expected = {"APE": (True, False), "RPE": (False, True), "none": (False, False), "content": (False, True)}[made.group]
    assert (encoding.overrides(made, "embed"), on_scores) == expected


def test_positions_of_one_row_serve_every_row(encoding_name):
    made, q, k = moved(build(encoding_name)), draw(2, 9, seed=1), draw(2, 9, seed=2)
    x = torch.randn(2, 9, M, generator=torch.Generator().manual_seed(4))
    one, two = torch.arange(5, 14), torch.arange(5, 14).expand(2, 9)
    with torch.no_grad():
        torch.testing.assert_close(attention_reference.scores(made, q, k, x, one), attention_reference.scores(made, q, k, x, two))
        ids = torch.zeros(2, 9, dtype=torch.long)
        torch.testing.assert_close(made.embed(x, one[None], ids), made.embed(x, two, ids))


def test_one_instance_serves_all_layers_where_an_encoding_is_shared(encoding_name):
    layers = encoding.for_layers(encoding_name, encoding.Shape(M, H, 16), 3)
    assert len(layers) == 3
    assert (layers[0] is layers[2]) == layers[0].shared


# --------------------------------------------------------------------------------------------------------------- gradients


def probe(made: encoding.Encoding, n: int = 20) -> Tensor:
    """A number that every parameter moves: all logits the mask leaves and all embeddings, randomly weighted."""
    q, k, x = draw(1, n, seed=1).double(), draw(1, n, seed=2).double(), draw(1, n, 1, M, seed=4)[0].double()
    past, weight = torch.from_numpy(no_future(n, n, made.shape.causal)), draw(1, n, H, n, seed=5).double()
    ids = torch.zeros(1, n, dtype=torch.long)
    embedded = (made.embed(x, torch.arange(n)[None], ids) * x.flip(1)).sum()
    return embedded + (attention_reference.scores(made, q, k, x) * weight)[..., past].sum()


LEARNING = [*catalog.names("encodings"), "alibi:learned=true", "kerple-power:weighted=true", "pope:start=uniform",
            "mlp-bias:norm=true:log=true", "abacus:over=kerple-log"]  # fmt: skip


@BOTH
@pytest.mark.parametrize("choice", LEARNING)
def test_gradients_of_learned_parameters_equal_finite_differences(choice, causal, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # encodings step up to float32: here, to float64
    made = moved(built(choice, causal, trained=8).double().train(), 0.1)
    parameters = list(made.parameters())
    if not parameters:
        pytest.skip("learns nothing")
    gradients = torch.autograd.grad(probe(made), parameters)
    for seed, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
        way = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        with torch.no_grad():
            parameter += 1e-6 * way
            above = float(probe(made))
            parameter -= 2e-6 * way
            below = float(probe(made))
            parameter += 1e-6 * way
        assert float((gradient * way).sum()) == pytest.approx((above - below) / 2e-6, rel=1e-5, abs=1e-7)
        assert above != below


# ----------------------------------------------------------------------------------------------------------- learned table


def rows(made: encoding.Encoding, positions: Tensor) -> Tensor:
    x = torch.zeros(1, len(positions), made.shape.d_model)
    return made.embed(x, positions[None], torch.zeros(1, len(positions), dtype=torch.long)).detach()[0]


def test_rows_past_the_table_are_the_same_whatever_length_is_evaluated():
    made = build("learned").eval()
    long = rows(made, torch.arange(2000))
    torch.testing.assert_close(rows(made, torch.arange(700)), long[:700], rtol=0, atol=0)
    torch.testing.assert_close(rows(made, torch.tensor([1999, 513, 512])), long[[1999, 513, 512]], rtol=0, atol=0)


def test_rows_past_the_table_are_drawn_like_those_in_it():
    made = build("learned:std=0.5").eval()
    blocks = rows(made, torch.arange(2048)).view(4, -1)
    np.testing.assert_allclose(blocks.std(dim=1).numpy(), 0.5, rtol=0.02)
    assert float(torch.corrcoef(blocks).fill_diagonal_(0).abs().max()) < 0.03


def test_evaluating_far_past_the_table_changes_no_parameter():
    made = build("learned").eval()
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    rows(made, torch.arange(3000))
    after = made.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_untrained_counts_the_positions_that_training_never_touched():
    made = build("learned").train()
    assert made.untrained(torch.arange(12)[None]) == 12
    rows(made, torch.arange(5, 10))
    assert made.untrained(torch.arange(12)[None]) == 7
    rows(made, torch.tensor([511]))  # the last row of the table
    assert made.untrained(torch.tensor([[5, 9, 510, 511, 512, 3000], [5, 5, 5, 5, 5, 4]])) == 4


def test_evaluation_touches_no_row():
    made = build("learned").eval()
    rows(made, torch.arange(5))
    assert made.untrained(torch.arange(5)[None]) == 5


def test_training_from_an_offset_touches_the_rows_it_stands_on(model_of, ids_of):
    model = model_of("learned", trained=64).train()
    model(ids_of(2, 8), torch.arange(37, 45))
    assert model.encodings[0].touched_R.nonzero().flatten().tolist() == list(range(37, 45))


def test_rows_that_training_does_not_stand_on_get_no_gradient(model_of, ids_of):
    model = model_of("learned", trained=64).train()
    model.head(model(ids_of(2, 8))).square().sum().backward()
    moving_R = model.encodings[0].table_RxM.grad.abs().sum(dim=1) > 0
    assert moving_R.nonzero().flatten().tolist() == list(range(8))


def test_a_learned_table_reloaded_into_another_seed_has_the_rows_it_was_saved_with(model_of):
    first, second = model_of("learned", seed=0), model_of("learned", seed=1)
    far = torch.tensor([3, 700, 1500])
    assert not torch.equal(rows(first.encodings[0], far), rows(second.encodings[0], far))
    second.load_state(first.state())
    assert torch.equal(rows(first.encodings[0], far), rows(second.encodings[0], far))


def test_parameters_that_are_all_trained_leave_no_position_untrained(encoding_name):
    if encoding_name == "learned":
        pytest.skip("has rows of its own for each position")
    assert build(encoding_name).untrained(torch.arange(5000)[None]) == 0


# ------------------------------------------------------------------------------------------------------------------ errors


def test_the_width_that_an_error_names_is_accepted():
    assert build("rope", d_model=16, n_head=4).shape.d_head == 4
    assert build("sinusoidal", d_model=10, n_head=1)


def test_hyphens_and_underscores_name_the_same_encoding():
    assert type(build("transformer-xl")) is type(build("transformer_xl"))
    assert build("t5:max-distance=99").max_distance == 99


OWN = '''"""Twice the score of the token itself."""
import torch
from rpecli.encoding import DistanceBias
class Own(DistanceBias):
    def __init__(self, shape, *, gain: float = 2.0):
        super().__init__(shape)
        self.gain = gain
    def by_distance(self, distance):
        return (self.gain * (distance == 0)).expand(self.shape.n_head, *distance.shape)
'''


def test_an_encoding_of_ones_own_works_by_path(tmp_path: Path):
    path = tmp_path / "own.py"
    path.write_text(OWN)
    q, k = draw(1, 5, seed=1), draw(1, 5, seed=2)
    found = attention_reference.scores(build(f"{path}:gain=3"), q, k) - attention_reference.scores(build("none"), q, k)
    torch.testing.assert_close(found, 3 * torch.eye(5).expand(1, H, 5, 5), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def broken(:\n", ["SyntaxError"]),
        ("import no_such_module_anywhere\n", ["ModuleNotFoundError", "no_such_module_anywhere"]),
        ("raise RuntimeError('half written')\n", ["RuntimeError", "half written"]),
        ("x = 1\n", ["exactly one subclass of Encoding", "defines: none"]),
        (OWN + "class Other(DistanceBias): pass\n", ["exactly one subclass of Encoding", "Own", "Other"]),
    ],
)
def test_a_file_that_does_not_load_is_an_error_that_names_it(tmp_path: Path, source, words):
    path = tmp_path / "wrong.py"
    path.write_text(source)
    for _ in range(2):  # a second try must not find the half-loaded module
        with pytest.raises(ChoiceError) as error:
            build(str(path))
        assert all(word in str(error.value) for word in [str(path), *words])
