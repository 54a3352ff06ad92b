"""What the layers of a model are made of (`block`), and how their weights start.

    block    norms       MLP               biases   output       initial weights
    plain    LayerNorm   GELU              no       own matrix   token embedding N(0, 1), matrices N(0, 1/fan_in)
    gpt2     LayerNorm   GELU, tanh form   yes      embedding    N(0, 0.02^2); of what a layer adds, 0.02 / sqrt(2 layers)
    llama    RMSNorm     SwiGLU            no       own matrix   N(0, 0.02^2), cut at three deviations

0.02 for the token embedding would drown the token under a sinusoid of amplitude 1 (copy stays at chance), so plain starts at 1.
gpt2 is the block of Radford et al. 2019 ("Language Models are Unsupervised Multitask Learners") as in the library transformers,
llama that of Touvron et al. 2023 (arXiv 2302.13971) with the initial values of OLMo-core. Biases start at 0, norms at 1.

`init: torch` starts any of them as torch does where nobody says otherwise: token embedding N(0, 1), matrices and biases
U(-1, 1) / sqrt(fan_in).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

Mix = Callable[[str, Tensor], Tensor]  # a Canon layer, if there is one, on what is named


class Linear(nn.Module):
    """y = x W^T + b, the product in `dtype`, the result in float32."""

    def __init__(self, n_in: int, n_out: int, dtype: torch.dtype, bias: bool = False):
        super().__init__()
        self.dtype = dtype
        self.weight = nn.Parameter(torch.empty(n_out, n_in))
        self.bias = nn.Parameter(torch.zeros(n_out)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return self.matmul(self.cast(x)).float()

    def cast(self, x: Tensor) -> Tensor:
        """x in the dtype of the product."""
        return x.to(self.dtype) if self.training else x  # evaluation is always float32

    def matmul(self, x: Tensor) -> Tensor:
        """The product with the weight, for an x that is cast already."""
        return F.linear(x, self.cast(self.weight), None if self.bias is None else self.cast(self.bias))


class MLP(nn.Module):
    """down(f(up(h))). The hidden layer stays in `dtype`, since the next product rounds it anyway."""

    def __init__(self, d_model: int, width: int, dtype: torch.dtype, activation: Callable[[Tensor], Tensor], bias: bool):
        super().__init__()
        self.activation = activation
        self.up, self.down = Linear(d_model, width, dtype, bias), Linear(width, d_model, dtype, bias)

    def forward(self, h: Tensor, mix: Mix) -> Tensor:
        return self.down(self.activation(mix("up", self.up.matmul(self.up.cast(h)))))


class SwiGLU(nn.Module):
    """down(silu(gate(h)) up(h)): Shazeer 2020, "GLU Variants Improve Transformer", arXiv 2002.05202."""

    def __init__(self, d_model: int, width: int, dtype: torch.dtype):
        super().__init__()
        self.gate, self.up = Linear(d_model, width, dtype), Linear(d_model, width, dtype)
        self.down = Linear(width, d_model, dtype)

    def forward(self, h: Tensor, mix: Mix) -> Tensor:
        h = self.up.cast(h)
        return self.down(F.silu(mix("gate", self.gate.matmul(h))) * mix("up", self.up.matmul(h)))


def _by_fan_in(model: nn.Module, generator: Generator) -> None:
    nn.init.normal_(model.embedding.weight, std=1.0, generator=generator)  # type: ignore[union-attr, arg-type]
    for module in model.modules():
        if isinstance(module, Linear):
            nn.init.normal_(module.weight, std=module.weight.shape[1] ** -0.5, generator=generator)


def _of_gpt2(model: nn.Module, generator: Generator) -> None:
    blocks: nn.ModuleList = model.blocks  # type: ignore[assignment]
    added = {id(part) for block in blocks for part in (block.attention.o, block.mlp.down)}  # type: ignore[union-attr]
    nn.init.normal_(model.embedding.weight, std=0.02, generator=generator)  # type: ignore[union-attr, arg-type]
    for module in blocks.modules():
        if isinstance(module, Linear):
            std = 0.02 / (2 * len(blocks)) ** 0.5 if id(module) in added else 0.02
            nn.init.normal_(module.weight, std=std, generator=generator)


def _of_llama(model: nn.Module, generator: Generator) -> None:
    for module in model.modules():
        if isinstance(module, Linear) or module is model.embedding:
            weight: Tensor = module.weight  # type: ignore[assignment]
            nn.init.trunc_normal_(weight, std=0.02, a=-0.06, b=0.06, generator=generator)


def of_torch(model: nn.Module, generator: Generator) -> None:
    """`init: torch`."""
    embedding: Tensor = model.embedding.weight  # type: ignore[union-attr, assignment]
    nn.init.normal_(embedding, generator=generator)
    for module in model.modules():
        if isinstance(module, Linear):
            bound = module.weight.shape[1] ** -0.5
            for parameter in module.parameters(recurse=False):
                if parameter is not embedding:  # a tied output
                    nn.init.uniform_(parameter, -bound, bound, generator=generator)


@dataclass(frozen=True)
class BlockForm:
    """One row of the table above; `norm` and `mlp` make a module of a width, `mlp` also of the hidden width and the dtype."""

    norm: Callable[[int], nn.Module]
    mlp: Callable[[int, int, torch.dtype], nn.Module]
    init: Callable[[nn.Module, Generator], None]
    bias: bool = False
    tied: bool = False
    gated: bool = False  # whether the MLP has a gate


FORMS = {
    "plain": BlockForm(nn.LayerNorm, partial(MLP, activation=F.gelu, bias=False), _by_fan_in),
    "gpt2": BlockForm(
        nn.LayerNorm, partial(MLP, activation=partial(F.gelu, approximate="tanh"), bias=True), _of_gpt2, bias=True, tied=True
    ),
    "llama": BlockForm(partial(nn.RMSNorm, eps=1e-5), SwiGLU, _of_llama, gated=True),
}
