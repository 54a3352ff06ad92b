"""A pre-norm decoder-only transformer that takes any encoding and has no maximum length.

Initialisation, the same for every encoding and seed:
    token embedding   N(0, 1)            0.02 would drown the token under a sinusoid of amplitude 1 (copy stays at chance)
    linear weights    N(0, 1/fan_in)
    norms             weight 1, bias 0
Linear layers have no bias; the MLP is GELU. `dtype` is that of matrix products in training, attention's too where a kernel gains
by it, and of what only goes from one of them to the next; all else is float32. Where only the tokens from `query_start` on, or
those of `query_index_N`, are read, the last layer has no other queries, and what follows its attention runs on these alone.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rpecli import task as tasks
from rpecli.attention import dispatch
from rpecli.attention.blocks import BlockSizes
from rpecli.attention.dispatch import ForwardContext
from rpecli.choice import split_switch
from rpecli.config.recipe import Config
from rpecli.encoding import Encoding, QueryKey, Shape, for_layers
from rpecli.task import Task


class Linear(nn.Module):
    """y = x W^T, the product in `dtype`, the rest in float32."""

    def __init__(self, n_in: int, n_out: int, dtype: torch.dtype):
        super().__init__()
        self.dtype = dtype
        self.weight = nn.Parameter(torch.empty(n_out, n_in))

    def forward(self, x: Tensor) -> Tensor:
        return self.matmul(self.cast(x)).float()

    def cast(self, x: Tensor) -> Tensor:
        """x in the dtype of the product."""
        return x.to(self.dtype) if self.training else x  # evaluation is always float32

    def matmul(self, x: Tensor) -> Tensor:
        """The product with the weight, for an x that is cast already."""
        return F.linear(x, self.cast(self.weight))


@dataclass
class Cache:
    """Raw keys, values and features of every layer, and the positions so far: what one-token decoding carries along."""

    layers: list[dict[str, Tensor]] = field(default_factory=list)
    positions: Tensor | None = None
    ids: Tensor | None = None
    padding_mask: Tensor | None = None  # true for padding tokens


class LogitScale(nn.Module):
    """A factor on every query that grows with the keys it sees, against attention that thins out over long inputs.

    logn    max(1, ln n / ln N), N the training length                 Su 2021 (kexue.fm), "attention entropy invariance"
    ssmax   s_h ln n, s learned for each head                          Nakanishi 2025, "Scalable-Softmax", arXiv 2501.19399
    """

    def __init__(self, kind: str, n_head: int, max_train_length: int):
        super().__init__()
        self.kind, self.max_train_length = kind, max_train_length
        if kind == "ssmax":
            self.s_Hx1x1 = nn.Parameter(torch.full((n_head, 1, 1), 1 / math.log(max(2, max_train_length))))

    def forward(self, q_BxHxTxD: Tensor, n_keys_BxT: Tensor) -> Tensor:
        """Queries times the factor of their numbers of keys."""
        if self.kind == "none":
            return q_BxHxTxD
        log_Bx1xTx1 = n_keys_BxT.float().log()[..., None, :, None]
        if self.kind == "ssmax":
            return q_BxHxTxD * self.s_Hx1x1 * log_Bx1xTx1
        return q_BxHxTxD * (log_Bx1xTx1 / math.log(max(2, self.max_train_length))).clamp(min=1)


class Block(nn.Module):
    def __init__(self, config: Config, max_train_length: int, dtype: torch.dtype):
        super().__init__()
        M = config.d_model
        self.n_head, self.causal, self.normalizer = config.n_head, config.attention == "causal", config.normalizer
        self.logit_scale = LogitScale(config.logit_scale, config.n_head, max_train_length)
        self.norm1, self.norm2 = nn.LayerNorm(M), nn.LayerNorm(M)
        self.q, self.k, self.v, self.o = (Linear(M, M, dtype) for _ in range(4))
        self.up, self.down = Linear(M, config.mlp_ratio * M, dtype), Linear(config.mlp_ratio * M, M, dtype)

    def forward(
        self,
        x_BxTxM: Tensor,
        encoding: Encoding,
        positions_BxS: Tensor,
        past: dict[str, Tensor] | None,
        context: ForwardContext,
        query_start: int = 0,
        query_index_N: Tensor | None = None,
    ) -> Tensor:
        """`[B, T - query_start, M]`, or `[N, M]` of the tokens of that, flattened, that `query_index_N` names."""
        h_BxTxM = self.norm1(x_BxTxM)
        cast = self.q.cast(h_BxTxM)  # once for the three
        q, k, v = self._heads(self.q, cast[:, query_start:]), self._heads(self.k, cast), self._heads(self.v, cast)
        features = encoding.features(h_BxTxM)
        if past is not None:
            k, v, features = (_extend(past, name, new) for name, new in (("k", k), ("v", v), ("features", features)))
        if self.logit_scale.kind != "none":
            q = self.logit_scale(q, _n_keys(q.shape[2], k, context.padding_mask_BxS, self.causal))
        qk = QueryKey.last(q, k, positions_BxS, features)
        y_BxHxTxD = dispatch.attend(encoding, qk, v, context, self.normalizer)
        x_BxTxM, y_BxTxM = x_BxTxM[:, query_start:], y_BxHxTxD.transpose(1, 2).flatten(2)
        if query_index_N is None:
            return self._rest(x_BxTxM, y_BxTxM)
        return self._rest(x_BxTxM.flatten(0, 1)[query_index_N], y_BxTxM.flatten(0, 1)[query_index_N])

    def _heads(self, layer: Linear, cast_BxTxM: Tensor) -> Tensor:
        """`[B, H, T, D]` in the products' dtype."""
        return layer.matmul(cast_BxTxM).unflatten(-1, (self.n_head, -1)).transpose(1, 2)

    def _rest(self, x: Tensor, y: Tensor) -> Tensor:
        """What every token does for itself; the MLP's hidden layer stays in `dtype`: the next product rounds it anyway."""
        x = x + self.o(y)
        up = self.up.matmul(self.up.cast(self.norm2(x)))
        return x + self.down(F.gelu(up))


def _n_keys(T: int, k: Tensor, padding_mask_BxS: Tensor | None, causal: bool) -> Tensor:
    """How many keys that are not padding each row sees, `[B or 1, T]`, at least 1."""
    S = k.shape[2]
    key_BxS = torch.ones(1, S, dtype=torch.bool, device=k.device) if padding_mask_BxS is None else ~padding_mask_BxS
    count_BxS = key_BxS.cumsum(1) if causal else key_BxS.sum(1, keepdim=True).expand_as(key_BxS)
    return count_BxS[:, S - T :].clamp(min=1)


def _extend(past: dict[str, Tensor], name: str, new: Any) -> Any:
    """Adds a layer's new keys (values, features) to its cache and returns all of them."""
    if new is None:
        return None
    past[name] = torch.cat([past[name], new], dim=2) if name in past else new
    return past[name]


def _extend_padding(cache: Cache, padding_mask_BxT: Tensor | None, past: int, ids_BxT: Tensor) -> Tensor | None:
    """Adds the padding among new tokens to the cache and returns the mask of all tokens; None while there is no padding."""
    if padding_mask_BxT is None and cache.padding_mask is None:
        return None
    new = torch.zeros_like(ids_BxT, dtype=torch.bool) if padding_mask_BxT is None else padding_mask_BxT
    old = new.new_zeros(len(ids_BxT), past) if cache.padding_mask is None else cache.padding_mask
    cache.padding_mask = torch.cat([old, new], dim=1)
    return cache.padding_mask


class Transformer(nn.Module):
    """`forward` gives the last hidden states, `head` the logits of hidden states."""

    block_sizes = BlockSizes()

    def __init__(self, config: Config, vocabulary: int, max_train_length: int):
        """`max_train_length` is the longest sequence, or position range, that training shows, in tokens."""
        super().__init__()
        dtype = getattr(torch, config.dtype)
        shape = Shape(config.d_model, config.n_head, max_train_length, causal=config.attention == "causal")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed * 2 + 1)  # the encoding's own draws, so that all else starts alike for every encoding
            first, later = split_switch(config.encoding)
            self.encodings = nn.ModuleList(for_layers(first, shape, config.n_layer))
            self.later = nn.ModuleList(for_layers(later, shape, config.n_layer) if later else [])  # take over after `switch`
        self.embedding = nn.Embedding(vocabulary, config.d_model)
        self.blocks = nn.ModuleList(Block(config, max_train_length, dtype) for _ in range(config.n_layer))
        self.norm = nn.LayerNorm(config.d_model)
        self.out = Linear(config.d_model, vocabulary, dtype)
        self.switch(False)
        self.init_weights(torch.Generator().manual_seed(config.seed * 2))

    def switch(self, to_later: bool) -> None:
        """Whether the later encodings (`rope:then=none`), where there are any, serve the layers; at the start the first do."""
        self.current: list[Encoding] = list(self.later if to_later and len(self.later) else self.encodings)  # type: ignore[arg-type]

    def init_weights(self, generator: torch.Generator) -> None:
        """The table of the module's docstring; encodings draw their own parameters."""
        nn.init.normal_(self.embedding.weight, std=1.0, generator=generator)
        for module in self.modules():
            if isinstance(module, Linear):
                nn.init.normal_(module.weight, std=module.weight.shape[1] ** -0.5, generator=generator)

    def forward(
        self,
        ids_BxT: Tensor,
        positions: Tensor | None = None,
        padding_mask_BxT: Tensor | None = None,
        cache: Cache | None = None,
        query_start: int = 0,
        query_index_N: Tensor | None = None,
    ) -> Tensor:
        """Hidden states `[B, T - query_start, M]`, or `[N, M]` of the tokens of that, flattened, that `query_index_N` names.

        `positions` are `[T]`, `[B or 1, T]` or, one for each layer, `[layers, B or 1, T]`; by default 0, 1, ...
        `padding_mask_BxT` is true for padding tokens, which nobody attends to. `cache` continues after the last call with it.
        """
        past = cache.positions.shape[-1] if cache and cache.positions is not None else 0
        contiguous_positions = positions is None
        if positions is None:
            positions = torch.arange(past, past + ids_BxT.shape[1], device=ids_BxT.device)
        positions_LxBxT = positions[(None,) * (3 - positions.dim())]
        x_BxTxM = self.embedding(ids_BxT)
        ids_BxS = ids_BxT
        if cache is not None:
            ids_BxS = cache.ids = ids_BxT if cache.ids is None else torch.cat([cache.ids, ids_BxT], dim=1)
        for encoding in dict.fromkeys(self.current):  # encodings that alternate over the layers all add to the embeddings, once
            x_BxTxM = encoding.embed(x_BxTxM, positions_LxBxT[0], ids_BxS)
        positions_LxBxS, padding_mask_BxS = positions_LxBxT, padding_mask_BxT
        if cache is not None:
            positions_LxBxS = positions_LxBxT if cache.positions is None else torch.cat([cache.positions, positions_LxBxT], dim=2)
            cache.positions = positions_LxBxS
            padding_mask_BxS = _extend_padding(cache, padding_mask_BxT, past, ids_BxT)
            cache.layers = cache.layers or [{} for _ in self.blocks]
        context = ForwardContext(padding_mask_BxS, contiguous_positions, bias_cache={}, sizes=self.block_sizes)
        for n, block in enumerate(self.blocks):
            layer_cache = cache.layers[n] if cache is not None else None
            positions_BxS = positions_LxBxS[n if len(positions_LxBxS) > 1 else 0]
            last = {"query_start": query_start, "query_index_N": query_index_N} if n == len(self.blocks) - 1 else {}
            x_BxTxM = block(x_BxTxM, self.current[n], positions_BxS, layer_cache, context, **last)
        return self.norm(x_BxTxM)

    def head(self, x: Tensor) -> Tensor:
        """Logits `[..., vocabulary]` of hidden states."""
        return self.out(x)

    def state(self) -> dict[str, Tensor]:
        """Every parameter and kept buffer once, whatever is shared: what a weights file holds."""
        kept = set(self.state_dict())
        named = [*self.named_parameters(), *self.named_buffers()]
        return {name: tensor.detach() for name, tensor in named if name in kept}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Copies a weights file in. Raises ValueError that names what is missing, foreign or of another shape."""
        own = self.state()
        if own.keys() != state.keys():
            raise ValueError(f"weights do not fit: {', '.join(sorted(own.keys() ^ state.keys()))}")
        for name, tensor in own.items():
            if tensor.shape != state[name].shape:
                raise ValueError(f"weights do not fit: {name} is {list(state[name].shape)}, here {list(tensor.shape)}")
        for name, tensor in own.items():  # only once all fit, so that refused weights leave the model as it was
            tensor.copy_(state[name])


def max_train_positions(config: Config, task: Task) -> int:
    """How many positions training shows: the longest sequence, or the range that offset and randomized draw from."""
    return task.sequence(config.length) if config.positions == "start" else config.max_position


@dataclass
class LoadedModel:
    """A model with its config, its task and the device it is on."""

    config: Config
    task: Task
    model: Transformer
    device: torch.device


def build(config: Config, device: torch.device) -> LoadedModel:
    """The task and the model of a config, with the weights that training starts from.

    Raises choice.ContentError for a task or an encoding that does not exist or rejects its options.
    """
    task = tasks.build(config.task)
    return LoadedModel(config, task, Transformer(config, task.vocabulary, max_train_positions(config, task)).to(device), device)
