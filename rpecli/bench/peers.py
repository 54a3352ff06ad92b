"""Other libraries' transformers with the same encoding, depth, width, heads and MLP, in each of their settings.

A peer is a class with `settings` for an encoding (none where it does not have it) and `build`. All of them give hidden states
and take the output layer to the places that are scored, as here; each file's own defaults stand for what is not named below.
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
Hidden = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Peer:
    """A model of another library: hidden states of ids, and the output layer."""

    module: nn.Module
    hidden: Hidden
    head: Hidden


@dataclass(frozen=True)
class Library:
    """What to import, which settings it has for an encoding, and how to make a model in one of them."""

    name: str
    package: str
    settings: Callable[[str], list[str]]
    build: Callable[[str, str, Size, int], Peer]

    @property
    def installed(self) -> bool:
        return importlib.util.find_spec(self.package) is not None


def _settings_of_x_transformers(encoding: str) -> list[str]:
    flash = ["default", "flash", BFLOAT16, f"flash, {BFLOAT16}"]
    return flash if encoding in X_TRANSFORMERS else []


X_TRANSFORMERS: dict[str, dict[str, Any]] = {
    "none": {},
    "learned": {},
    "rope": {"rotary_pos_emb": True},
    "alibi": {"alibi_pos_bias": True},
    "t5": {"rel_pos_bias": True},
}


def _x_transformer(encoding: str, setting: str, size: Size, vocabulary: int) -> Peer:
    """Rotary embeddings turn every channel of a head, as here; by default x-transformers turns half of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it imports in turn
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
    whole = TransformerWrapper(
        num_tokens=vocabulary, max_seq_len=size.length, attn_layers=layers, use_abs_pos_emb=encoding == "learned"
    )
    return Peer(whole, lambda ids_BxT: whole(ids_BxT, return_embeddings=True), whole.to_logits)


def _settings_of_transformers(encoding: str) -> list[str]:
    family = {"rope": LLAMA, "learned": GPT2}.get(encoding)
    return [family, f"{family}, {BFLOAT16}"] if family else []


def _of_transformers(encoding: str, setting: str, size: Size, vocabulary: int) -> Peer:
    """LLaMA's MLP has three matrices, so its width is 8/3 of the model's to come out at as many parameters."""
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
    Library("x-transformers", "x_transformers", _settings_of_x_transformers, _x_transformer),
    Library("Hugging Face", "transformers", _settings_of_transformers, _of_transformers),
]
