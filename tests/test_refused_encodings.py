"""Wrong encodings, options and shapes: each is refused with what to write instead."""

from pathlib import Path

import pytest
from helpers.encodings import build

from rpecli.choice import ChoiceError

REFUSED = {  # choice: (shape, words the message must hold)
    "rope": ({"d_model": 12}, ["odd", "write d_model=16"]),
    "rope:pairing=half": ({"d_model": 12}, ["odd", "write d_model=16"]),
    "sinusoidal": ({"d_model": 9, "n_head": 3}, ["odd", "write d_model=12"]),
    "transformer-xl": ({"d_model": 9, "n_head": 3}, ["odd", "write d_model=12"]),
    "rop": ({}, ["unknown encoding 'rop'", "did you mean rope"]),
    "qqq": ({}, ["unknown encoding 'qqq'", "the closest of", "rpe ls encodings"]),
    "rope:bas=500": ({}, ["encoding rope", "'bas'", "did you mean base?"]),
    "none:slope=2": ({}, ["none", "'slope'", "it has none"]),
    "alibi:slope=2": ({}, ["alibi", "'slope'", "known: learned"]),
    "rope:base": ({}, ["'base' is not option=value"]),
    "rope:base=ten": ({}, ["rope", "base must be a number", "'ten'"]),
    "shaw:reach=2.5": ({}, ["shaw", "reach must be a whole number", "'2.5'"]),
    "rope:pairing=halves": ({}, ["interleaved or half", "'halves'"]),
    "shaw:reach=0": ({}, ["reach=0", "at least 1"]),
    "t5:buckets=1": ({}, ["buckets=1", "at least 2"]),
    "t5:max_distance=16": ({}, ["max_distance=16", "above half"]),
    "t5:buckets=3": ({"causal": False}, ["buckets=3", "at least 2 buckets per side"]),
    "xpos": ({"causal": False}, ["xpos", "no form for attention in both directions", "attention: causal"]),
    "abacus:over=xpos": ({"causal": False}, ["no form for attention in both directions"]),
    "xpos:gamma=0": ({}, ["gamma=0", "above 0"]),
    "p-rope": ({"d_model": 12}, ["odd", "write d_model=16"]),
    "p-rope:p=0.1": ({}, ["p=0.1", "0 of 8 pairs", "write a larger p, up to 1"]),
    "p-rope:p=1.5": ({}, ["p=1.5", "12 of 8 pairs", "write p=1"]),
    "p-rope:pairing=x": ({}, ["interleaved or half", "'x'"]),
    "rope:fraction=0.1": ({}, ["fraction=0.1", "0 of 16 channels", "0.125 to 1"]),
    "rope:fraction=0.125:scaling=ntk": ({}, ["2 of 16 channels", "0.25 to 1"]),
    "rope:fraction=2": ({}, ["fraction=2", "32 of 16 channels"]),
    "rope:scaling=yam": ({}, ["none, pi, ntk, dynamic, yarn, llama3 or longrope", "'yam'"]),
    "rope:scaling=longrope": ({}, ["go together", "factors=1/1.5/2/4"]),
    "rope:factors=1/2": ({}, ["go together"]),
    "rope:scaling=longrope:factors=1/2": ({}, ["factors=1/2", "one for each of 8 pairs"]),
    "rope:scaling=longrope:factors=1/1/1/1/1/1/1/0.5": ({}, ["at least 1"]),
    "rope:scaling=longrope:factors=1;2": ({}, ["numbers with / between"]),
    "rope:scaling=pi:factor=0.5": ({}, ["factor=0.5", "at least 1"]),
    "rope:scaling=yarn:base=1": ({}, ["base=1", "above 1 to be scaled"]),
    "rope:per_head=true": ({}, ["per_head=true", "learned=true:per_head=true"]),
    "rope:chunk=4:window=4": ({}, ["window=4 and chunk=4", "keep one"]),
    "rope:window=-1": ({}, ["window=-1", "at least 1"]),
    "rope:chunk=-3": ({}, ["chunk=-3", "at least 1"]),
    "p-rope:cut=all": ({}, ["share or trained", "'all'"]),
    "p-rope:taper=sin": ({}, ["none or cos", "'sin'"]),
    "p-rope:cut=trained": ({"max_train_length": 5}, ["cut=trained", "5 trained tokens", "write cut=share"]),
    "pope:start=one": ({}, ["zero or uniform", "'one'"]),
    "sandwich:width=7": ({}, ["width=7", "width=8"]),
    "tisa:kernels=0": ({}, ["kernels=0", "at least 1"]),
    "tisa:form=x": ({}, ["paper or code", "'x'"]),
    "hard-alibi:masked=5": ({}, ["masked=5", "to 4"]),
    "window:width=0": ({}, ["width=0", "at least 1"]),
    "mlp-bias:depth=0": ({}, ["depth=0", "at least one"]),
    "abacus:max_k=-1": ({}, ["max_k=-1", "at least 0"]),
    "bipe:over=learned": ({}, ["over=learned", "acts on the scores alone", "over=rope"]),
    "bipe:over=bipe": ({}, ["over=bipe", "acts on the scores alone"]),
    "bipe:ends=10,46": ({}, ["separated by dots, such as ends=10.46", "'10,46'"]),
    "bipe:rows=0": ({}, ["rows=0", "at least 1"]),
    "abacus:over=abacus": ({}, ["over=abacus", "another encoding"]),
    "abacus:over=rop": ({}, ["unknown encoding 'rop'", "did you mean rope"]),
    "./nowhere.py": ({}, ["file ./nowhere.py", "rpe ls encodings"]),
    "cope": ({"causal": False}, ["no form for attention in both directions", "attention: causal"]),
    "fox": ({"causal": False}, ["no form for attention in both directions"]),
    "path-attention": ({"causal": False}, ["no form for attention in both directions"]),
    "selective-rope": ({"causal": False}, ["no form for attention in both directions"]),
    "cope:npos=1": ({}, ["npos=1", "at least 2"]),
    "path-attention:rank=0": ({}, ["rank=0", "at least 1"]),
    "path-attention:activation=relu": ({}, ["none or silu", "'relu'"]),
    "selective-rope:rank=3": ({"d_model": 12}, ["odd", "write d_model=16"]),
    "selective-rope:width=0": ({}, ["width=0", "at least 1"]),
    "rel-basis:extent=-1": ({}, ["extent=-1", "at least 1"]),
    "deberta:buckets=2": ({}, ["buckets=2", "at least 4"]),
    "deberta:buckets=7": ({}, ["buckets=7", "even"]),
    "deberta:reach=10:buckets=18": ({}, ["buckets=18", "below reach - 1"]),
    "dape:kind=v3": ({}, ["v1 or v2", "'v3'"]),
    "dape:hidden=0": ({}, ["hidden=0", "at least 1"]),
    "dape:over=rope": ({}, ["over=rope", "more than add a bias", "over=alibi"]),
    "dape:over=learned": ({}, ["over=learned", "more than add a bias"]),
    "dape:over=alibbi": ({}, ["'alibbi'", "did you mean alibi"]),
    "rerope": ({"d_model": 12}, ["odd", "write d_model=16"]),
    "rerope:leak=0.5": ({}, ["leak=0.5", "at least 1"]),
    "rerope:pairing=halves": ({}, ["interleaved or half", "'halves'"]),
    "self-extend": ({"d_model": 12}, ["odd", "write d_model=16"]),
    "self-extend:group=0": ({}, ["group=0", "at least 1"]),
    "scale-invariant": ({"d_model": 12}, ["odd", "write d_model=16"]),
    "scale-invariant:tau=0": ({}, ["tau=0", "above 0"]),
}


@pytest.mark.parametrize("choice", REFUSED)
def test_a_wrong_encoding_is_refused_with_what_to_write_instead(choice):
    shape, words = REFUSED[choice]
    with pytest.raises(ChoiceError) as error:
        build(choice, **shape)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_dape_over_a_bias_that_masks_keys_is_refused():
    with pytest.raises(ChoiceError, match="it masks keys"):
        build("dape:over=hard-alibi")


OLD_HOOKS = {  # of an earlier contract: a hook, and what it takes now
    "rotate(self, q, k, q_pos, k_pos)": "rotate(self, qk)",
    "score(self, logits, q, k, q_pos, k_pos)": "score(self, logits_BxHxTxS, qk)",
    "bias(self, distance)": "bias(self, q_pos_BxT, k_pos_BxS)",
}


@pytest.mark.parametrize("old", OLD_HOOKS)
def test_a_hook_of_an_earlier_contract_is_named_with_its_parameters(old: str, tmp_path: Path) -> None:
    path, hook = tmp_path / "mine.py", old.partition("(")[0]
    text = '"""Mine."""\nfrom rpecli.encoding import Encoding\n\nclass Mine(Encoding):\n    def {}:\n        return None\n'
    path.write_text(text.format(old))
    with pytest.raises(ChoiceError) as caught:
        build(str(path))
    assert str(caught.value) == f"{path}:5: {hook} does not take what the engine gives it: write def {OLD_HOOKS[old]}"


@pytest.mark.parametrize("now", [*OLD_HOOKS.values(), "rotate(self, qk, scale=1.0)", "score(self, *tensors)"])
def test_a_hook_may_name_its_parameters_and_take_more(now: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    text = '"""Mine."""\nfrom rpecli.encoding import Encoding\n\nclass Mine(Encoding):\n    def {}:\n        return None\n'
    path.write_text(text.format(now))
    assert type(build(str(path))).__name__ == "Mine"
