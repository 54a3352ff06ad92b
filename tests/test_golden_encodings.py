"""Encodings against values that their authors' code computed, once, on a CPU: tests/golden_encodings.json.

    grape-a, grape-ap, grape-m    model-architectures/GRAPE f5b539f, model/llama-mha-grape-*.py
    bam                           ArthurSBianchessi/BAM 5a6579d, models/bam.py
    coca:form=code                codefuse-ai/Collinear-Constrained-Attention aae1cfd, model/gpt_neox/modeling_gpt_neox.py
    rope-pp, fope                 OpenMOSS/rope_pp 91ba335, rope_pp/modeling_llama_{rope_pp,fope}.py
    repo                          SakanaAI/repo 1508a73, OLMo/olmo/model.py
    bipe                          zhenyuhe00/BiPE 861688f, my_modeling_llama_bipe_rope.py
    wall                          fla-org/flash-linear-attention bc3b101, fla/ops/wall_attn/naive.py

q, k `[1, 2, 6, 4]` and x `[1, 6, 8]` are the inputs; logits are 0 where a row may not look.
"""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rpecli import encoding
from rpecli.attention.reference import causal_mask, scores

GOLDEN = {
    name: torch.tensor(values)
    for name, values in json.loads(Path(__file__).with_name("golden_encodings.json").read_text()).items()
}
PARAMETERS: dict[str, dict[str, Tensor]] = {
    "grape-a:gate=key": {"o_H": GOLDEN["o"], "u_HxD": GOLDEN["u"]},
    "grape-a:gate=query": {"o_H": GOLDEN["o"], "v_HxD": GOLDEN["v"]},
    "grape-a:gate=both": {"o_H": GOLDEN["o"], "u_HxD": GOLDEN["u"], "v_HxD": GOLDEN["v"]},
    "grape-ap:width=4": {"w_HPxM": GOLDEN["w"]},
    "bam:location=true": {
        "power_H": torch.tensor([0.7, -0.3]),
        "log_scale_H": torch.tensor([-1.0, 0.4]),
        "location_H": torch.tensor([0.2, -0.1]),
    },
    "coca:form=code": {},
    "rope-pp": {},
}


def logits(choice: str, parameters: dict[str, Tensor], q: Tensor, k: Tensor, *, d_model: int = 8, n: int = 64) -> Tensor:
    module = encoding.build(choice, d_model, 2, n)
    with torch.no_grad():
        for name, values in parameters.items():
            getattr(module, name).copy_(values)
        return scores(module, q, k, GOLDEN["x"] if d_model == 8 else None)


@pytest.mark.parametrize("choice", PARAMETERS)
def test_scores_are_those_of_the_authors_code(choice: str) -> None:
    own = logits(choice, PARAMETERS[choice], GOLDEN["q"], GOLDEN["k"]).tril()
    torch.testing.assert_close(own, GOLDEN[choice], atol=2e-5, rtol=0)


def test_contextual_grape_turns_the_other_way_round_than_its_authors_code() -> None:
    """That code turns by -angle: the same with the sign of every pair's second channel changed, in queries and keys."""
    sign = torch.tensor([1.0, 1.0, -1.0, -1.0])
    parameters = {"a_RxM": 10 * GOLDEN["a"], "b_R": torch.tensor([-3.0]), "log_w_C": torch.tensor([0.3, -0.4])}
    own = logits("grape-m", parameters, GOLDEN["q"] * sign, GOLDEN["k"] * sign).tril()
    torch.testing.assert_close(own, GOLDEN["grape-m"], atol=2e-5, rtol=0)


def test_fope_is_that_of_the_authors_code() -> None:
    mixtures = {"cosine_HxKxP": GOLDEN["cosine"], "sine_HxKxP": GOLDEN["sine"]}
    own = logits("fope:base=100", mixtures, GOLDEN["q8"], GOLDEN["k8"], d_model=16, n=32).tril()
    torch.testing.assert_close(own, GOLDEN["fope:base=100"], atol=2e-5, rtol=0)


def test_positions_of_repo_are_those_of_the_authors_code() -> None:
    module = encoding.build("repo:hidden=3", 8, 2)
    with torch.no_grad():
        for layer, name in ((module.gate, "wg"), (module.content, "wc"), (module.place, "wz")):
            layer.weight.copy_(GOLDEN[name])
        torch.testing.assert_close(module.features(GOLDEN["x"])[..., 0], GOLDEN["repo"], atol=1e-5, rtol=0)


def test_weights_of_wall_attention_are_those_of_the_authors_code() -> None:
    own = logits("wall", {"w_HDxM": GOLDEN["ww"], "b_HD": GOLDEN["bw"]}, GOLDEN["q"], GOLDEN["k"])
    weights = own.masked_fill(causal_mask(6, 6), -torch.inf).softmax(-1)
    torch.testing.assert_close(weights, GOLDEN["wall weights"], atol=1e-5, rtol=0)


def test_bipe_counts_places_and_segments_as_its_authors_code_does() -> None:
    module, ids = encoding.build("bipe:ends=9:rows=5", 8, 2, 64), GOLDEN["bipe tokens"]
    assert module.places(ids).tolist() == GOLDEN["bipe:ends=9:rows=5 places"].tolist()
    assert module.relocate(torch.arange(14)[None], ids).tolist() == GOLDEN["bipe:ends=9:rows=5 segments"].tolist()
