"""Transformers of other libraries with the same encoding, depth, width, heads and MLP, in each of their settings.

All of them return hidden states, so that their output layer runs on the scored positions alone, as rpe's does. What is not set
below has the library's own default.
"""

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from rpecli.bench import Size

BFLOAT16 = "bfloat16 autocast"
LLAMA, GPT2 = "LLaMA", "GPT-2"
Layer = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Peer:
    """A model of another library."""

    module: nn.Module
    hidden: Layer  # ids `[B, T]` to hidden states `[B, T, M]`
    head: Layer  # hidden states to logits


@dataclass(frozen=True)
class Library:
    """Another library and how to build its models."""

    name: str
    package: str
    settings: Callable[[str], list[str]]  # of an encoding; none if the library does not have it
    build: Callable[[str, str, Size, int], Peer]  # encoding, setting, size, vocabulary

    @property
    def installed(self) -> bool:
        return importlib.util.find_spec(self.package) is not None


COMPARED = ("none", "rope", "alibi", "t5")  # with the peers, unless encodings are named
X_TRANSFORMERS: dict[str, dict[str, Any]] = {
    "none": {},
    "learned": {},
    "rope": {"rotary_pos_emb": True},
    "alibi": {"alibi_pos_bias": True},
    "t5": {"rel_pos_bias": True},
}


def _x_transformers_settings(encoding: str) -> list[str]:
    return ["default", "flash", BFLOAT16, f"flash, {BFLOAT16}"] if encoding in X_TRANSFORMERS else []


def _x_transformers_model(encoding: str, setting: str, size: Size, vocabulary: int) -> Peer:
    """Rotary embeddings rotate every channel of a head, as in rpe; by default x-transformers rotates half of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the packages that it imports
        from x_transformers import Decoder, TransformerWrapper

    D = size.width // size.heads
    options = X_TRANSFORMERS[encoding] | ({"rotary_emb_dim": D} if encoding == "rope" else {})
    layers = Decoder(
        dim=size.width,
        depth=size.layers,
        heads=size.heads,
        attn_dim_head=D,
        attn_flash="flash" in setting,
        verbose=False,
        **options,
    )
    model = TransformerWrapper(
        num_tokens=vocabulary, max_seq_len=size.length, attn_layers=layers, use_abs_pos_emb=encoding == "learned"
    )
    return Peer(model, lambda ids_BxT: model(ids_BxT, return_embeddings=True), model.to_logits)


def _transformers_settings(encoding: str) -> list[str]:
    family = {"rope": LLAMA, "learned": GPT2}.get(encoding)
    return [family, f"{family}, {BFLOAT16}"] if family else []


def _transformers_model(encoding: str, setting: str, size: Size, vocabulary: int) -> Peer:
    """LLaMA's MLP has three matrices: with 8/3 of the model's width it has as many parameters as rpe's with 4 times the width."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import transformers

    if setting.startswith(LLAMA):
        config = transformers.LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=size.width,
            intermediate_size=round(8 / 3 * size.width),
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            max_position_embeddings=size.length,
            use_cache=False,
        )
        llama = transformers.LlamaForCausalLM(config)
        return Peer(llama, lambda ids_BxT: llama.model(input_ids=ids_BxT).last_hidden_state, llama.lm_head)
    gpt2 = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=vocabulary,
            n_positions=size.length,
            n_embd=size.width,
            n_layer=size.layers,
            n_head=size.heads,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            use_cache=False,
            bos_token_id=None,
            eos_token_id=None,
        )
    )
    return Peer(gpt2, lambda ids_BxT: gpt2.transformer(input_ids=ids_BxT).last_hidden_state, gpt2.lm_head)


LIBRARIES = [
    Library("x-transformers", "x_transformers", _x_transformers_settings, _x_transformers_model),
    Library("Hugging Face", "transformers", _transformers_settings, _transformers_model),
]
