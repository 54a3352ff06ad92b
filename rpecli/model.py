"""A pre-norm decoder-only transformer that takes any encoding and has no maximum length.

The layers and their initial weights are those of `block` (blocks.py), the same for every encoding and seed. `dtype` is the dtype
of matrix products in training, and of attention where a kernel gains by it; all else is float32. If only the tokens from
`query_start` on, or those of `query_index_N`, are read, the last layer computes no other queries, and what follows its attention
runs on these alone.
"""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rpecli import task as tasks
from rpecli.attention import dispatch
from rpecli.attention.blocks import BlockSizes
from rpecli.attention.cache import Cache, Order
from rpecli.attention.dispatch import ForwardContext
from rpecli.attention.reference import split_heads
from rpecli.blocks import FORMS, Linear, Mix, of_torch
from rpecli.choice import split_switch
from rpecli.config.recipe import Config
from rpecli.data import weight_seed
from rpecli.encoding import Encoding, QueryKey, Shape, for_layers, overrides
from rpecli.mixing import PLACES, Canon, TokenShift
from rpecli.task import PAD, Task

NORM_EPS = 1e-6  # of queries and keys
SHIFTED = {"none": "", "k": "k", "kv": "kv"}  # what each value of token_shift shifts


@dataclass(frozen=True)
class LayerInput:
    """What layer `number` needs beside the hidden states."""

    number: int
    encoding: Encoding
    positions_BxS: Tensor
    context: ForwardContext
    cache: Cache | None = None
    query_start: int = 0
    query_index_N: Tensor | None = None

    def queried(self, x_BxTxM: Tensor) -> Tensor:
        """Hidden states of the tokens that are queries: `[B, T - query_start, M]`, or `[N, M]` of these."""
        x_BxTxM = x_BxTxM[:, self.query_start :]
        return x_BxTxM if self.query_index_N is None else x_BxTxM.flatten(0, 1)[self.query_index_N]

    def past(self, name: str, new_BxHxTxD: Tensor) -> Tensor:
        """All tokens so far of what mixes neighbours, `[B, H, S, D]`; padding is 0."""
        x_BxHxSxD, padding_mask_BxS = self.with_cache(name, new_BxHxTxD), self.context.padding_mask_BxS
        return x_BxHxSxD if padding_mask_BxS is None else x_BxHxSxD.masked_fill(padding_mask_BxS[:, None, :, None], 0)

    def with_cache(self, name: str, new_BxHxTxD: Tensor) -> Tensor:
        """Adds new keys, values or features to the cache, and returns all of them."""
        return new_BxHxTxD if self.cache is None else self.cache.with_new(self.number, name, new_BxHxTxD)


class LogitScale(nn.Module):
    """A factor on every query that grows with its number of keys, against attention that thins out over long inputs.

    logn    max(1, ln n / ln N), N the training length               Su 2021 (kexue.fm), "attention entropy invariance"
    ssmax   s_h ln n, s learned per head                             Nakanishi 2025, "Scalable-Softmax", arXiv 2501.19399
    stair   1 + 0.1 ln(1 + floor(n / N))                             Llama 4, of its layers without RoPE
    """

    def __init__(self, kind: str, n_head: int, max_train_length: int):
        super().__init__()
        self.kind, self.max_train_length = kind, max_train_length
        if kind == "ssmax":  # starts at a factor of 1 at the training length
            self.s_Hx1x1 = nn.Parameter(torch.full((n_head, 1, 1), 1 / math.log(max(2, max_train_length))))

    def forward(self, q_BxHxTxD: Tensor, n_keys_BxT: Tensor) -> Tensor:
        n_Bx1xTx1 = n_keys_BxT.float()[..., None, :, None]
        if self.kind == "ssmax":
            return q_BxHxTxD * self.s_Hx1x1 * n_Bx1xTx1.log()
        if self.kind == "stair":
            return q_BxHxTxD * (1 + 0.1 * (n_Bx1xTx1 / self.max_train_length).floor().log1p())
        return q_BxHxTxD * (n_Bx1xTx1.log() / math.log(max(2, self.max_train_length))).clamp(min=1)


class Attention(nn.Module):
    """Multi-head attention with an encoding."""

    def __init__(self, config: Config, dtype: torch.dtype, logit_scale: LogitScale):
        super().__init__()
        self.n_head, self.causal, self.normalizer = config.n_head, config.attention == "causal", config.normalizer
        self.logit_scale, self.scaled_when = logit_scale, (config.logit_scale_on, config.logit_scale_in)
        bias = FORMS[config.block].bias
        self.q, self.k, self.v, self.o = (Linear(config.d_model, config.d_model, dtype, bias) for _ in range(4))
        self.shifts = nn.ModuleDict({name: TokenShift(config.d_model, config.n_head) for name in SHIFTED[config.token_shift]})
        gain, d_head = config.qk_norm == "gain", config.d_model // config.n_head
        normed = ("q", "k") if config.qk_norm != "none" else ()
        self.norms = nn.ModuleDict({name: nn.RMSNorm(d_head, eps=NORM_EPS, elementwise_affine=gain) for name in normed})

    def forward(self, h_BxTxM: Tensor, layer: LayerInput, mix: Mix) -> Tensor:
        """`[B, T - query_start, M]`, or `[N, M]` of the tokens of `query_index_N`."""
        q, k, v = self.projected(h_BxTxM, layer, mix)
        k, v = layer.with_cache("k", k), layer.with_cache("v", v)
        features = layer.encoding.features(h_BxTxM)
        if features is not None:
            features = layer.with_cache("features", features)
        q = self.scale_queries(q, k.shape[2], layer.encoding, layer.context.padding_mask_BxS)
        qk = QueryKey.last(q, k, layer.positions_BxS, features)
        y_BxHxTxD = dispatch.attend(layer.encoding, qk, v, layer.context, self.normalizer)
        y_BxTxM = y_BxHxTxD.transpose(1, 2).flatten(2)
        return self.o(y_BxTxM if layer.query_index_N is None else y_BxTxM.flatten(0, 1)[layer.query_index_N])

    def projected(self, h_BxTxM: Tensor, layer: LayerInput, mix: Mix) -> tuple[Tensor, Tensor, Tensor]:
        """Queries of the tokens from `query_start` on, and keys and values of all new tokens, before the encoding."""
        cast_BxTxM = self.q.cast(h_BxTxM)  # once for the three products
        q = split_heads(mix("q", self.q.matmul(cast_BxTxM[:, layer.query_start :])), self.n_head)
        k, v = (split_heads(mix(name, linear.matmul(cast_BxTxM)), self.n_head) for name, linear in (("k", self.k), ("v", self.v)))
        k, v = (self._shifted(name, x, h_BxTxM, layer) for name, x in (("k", k), ("v", v)))
        return self._normed("q", q), self._normed("k", k), v

    def _shifted(self, name: str, x_BxHxTxD: Tensor, h_BxTxM: Tensor, layer: LayerInput) -> Tensor:
        if name not in self.shifts:
            return x_BxHxTxD
        return self.shifts[name](h_BxTxM, x_BxHxTxD, layer.past(f"unshifted {name}", x_BxHxTxD))

    def _normed(self, name: str, x_BxHxTxD: Tensor) -> Tensor:
        return self.norms[name](x_BxHxTxD.float()).to(x_BxHxTxD.dtype) if name in self.norms else x_BxHxTxD

    def scale_queries(self, q_BxHxTxD: Tensor, S: int, encoding: Encoding, padding_mask_BxS: Tensor | None = None) -> Tensor:
        """Queries of the last T of S tokens, times the factor of `logit_scale` where this layer has one now."""
        layers, phase = self.scaled_when
        in_this_layer = layers == "all" or encoding.group == "none"
        if self.logit_scale.kind == "none" or not in_this_layer or (phase == "evaluation" and self.training):
            return q_BxHxTxD
        key_BxS = torch.ones(1, S, dtype=torch.bool, device=q_BxHxTxD.device) if padding_mask_BxS is None else ~padding_mask_BxS
        count_BxS = key_BxS.cumsum(1) if self.causal else key_BxS.sum(1, keepdim=True).expand_as(key_BxS)
        n_keys_BxT = count_BxS[:, S - q_BxHxTxD.shape[2] :].clamp(min=1)  # that are not padding; a row of padding sees none
        return self.logit_scale(q_BxHxTxD, n_keys_BxT)


class Block(nn.Module):
    """One layer: attention, then an MLP, each on normalized hidden states and added to them."""

    def __init__(self, config: Config, max_train_length: int, dtype: torch.dtype):
        super().__init__()
        # registered here as well, as the first: the order of parameters decides the last bit of the norm of their gradients
        self.logit_scale = LogitScale(config.logit_scale, config.n_head, max_train_length)
        form, self.dropout = FORMS[config.block], config.dropout
        self.norm1, self.norm2 = form.norm(config.d_model), form.norm(config.d_model)
        self.attention = Attention(config, dtype, self.logit_scale)
        d_hidden = config.mlp_ratio * config.d_model
        self.mlp = form.mlp(config.d_model, d_hidden, dtype)
        width = {name: d_hidden if letter == "D" else config.d_model for letter in config.canon for name in PLACES[letter]}
        self.canon = nn.ModuleDict({name: Canon(width) for name, width in width.items() if name != "gate" or form.gated})

    def forward(self, x_BxTxM: Tensor, layer: LayerInput) -> Tensor:
        """`[B, T - query_start, M]`, or `[N, M]` of the tokens of `query_index_N`."""
        mix = self.mix(layer)
        x = layer.queried(x_BxTxM) + self.drop(self.attention(self.attention_input(x_BxTxM, mix), layer, mix))
        return x + self.drop(self.mlp(mix("mlp", self.norm2(x)), mix))

    def attention_input(self, x_BxTxM: Tensor, mix: Mix) -> Tensor:
        return mix("attention", self.norm1(x_BxTxM))

    def mix(self, layer: LayerInput) -> Mix:
        """What applies the Canon layer of a name, or nothing where there is none."""

        def mixed(name: str, x_BxTxM: Tensor) -> Tensor:
            if name not in self.canon:
                return x_BxTxM
            return self.canon[name](x_BxTxM, layer.past(f"canon {name}", x_BxTxM[:, None])[:, 0])

        return mixed

    def drop(self, x: Tensor) -> Tensor:
        """Dropout in training; the training loop seeds it for every step."""
        return F.dropout(x, self.dropout) if self.dropout and self.training else x


class Transformer(nn.Module):
    """`forward` gives the last hidden states, `head` the logits of hidden states."""

    block_sizes = BlockSizes()  # of evaluation

    def __init__(self, config: Config, vocabulary: int, max_train_length: int):
        """`max_train_length` is the longest sequence, or position range, that training shows, in tokens."""
        super().__init__()
        dtype = getattr(torch, config.dtype)
        shape = Shape(config.d_model, config.n_head, max_train_length, causal=config.attention == "causal")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(weight_seed(config, "encoding"))  # a seed of its own: all else is the same for every encoding
            first, later = split_switch(config.encoding)
            self.encodings = nn.ModuleList(for_layers(first, shape, config.n_layer))
            self.later = nn.ModuleList(for_layers(later, shape, config.n_layer) if later else [])  # take over after `switch`
        self.embedding = nn.Embedding(vocabulary, config.d_model)
        self.blocks = nn.ModuleList(Block(config, max_train_length, dtype) for _ in range(config.n_layer))
        form = FORMS[config.block]
        self.norm = form.norm(config.d_model)
        self.out = Linear(config.d_model, vocabulary, dtype)
        if form.tied:
            self.out.weight = self.embedding.weight  # type: ignore[assignment]
        self.switch(False)
        self.loops = config.loops
        self.whole_last_layer = not {"B", "C", "D"}.isdisjoint(config.canon)  # what is read mixes with what is not
        generator = torch.Generator().manual_seed(weight_seed(config, "weights"))
        (of_torch if config.init == "torch" else form.init)(self, generator)  # encodings draw their own
        for module in self.modules():
            if isinstance(module, Canon | TokenShift):
                module.init(generator)

    def switch(self, to_later: bool) -> None:
        """Whether the later encodings (`rope:then=none`), if there are any, serve the layers; at the start the first ones do."""
        self.current: list[Encoding] = list(self.later if to_later and len(self.later) else self.encodings)  # type: ignore[arg-type]

    def fit(self, n_positions: int) -> float | None:
        """Fixes what the encodings make of an evaluated length (`Encoding.fit`); the scaling factor, if there is one."""
        factors = [encoding.on_scores.fit(n_positions) for encoding in self.current]
        return next((factor for factor in factors if factor is not None), None)

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
        tokens = Cache() if cache is None else cache
        positions_LxBxT, index_N = self._positions(ids_BxT, positions, start=tokens.length), query_index_N
        if padding_mask_BxT is not None:
            order = Order.padding_first(padding_mask_BxT)
            index_N = order.queries(query_start, query_index_N)
            padding_mask_BxT = order.tokens(padding_mask_BxT)
            ids_BxT = order.tokens(ids_BxT).masked_fill(padding_mask_BxT, PAD)  # no digits for Abacus to count
            positions_LxBxT = order.positions(positions_LxBxT)
            positions_LxBxT = positions_LxBxT.where(~padding_mask_BxT, positions_LxBxT[..., -1:])  # within those of the tokens
        ids_BxS, positions_LxBxS = tokens.extend(ids_BxT, positions_LxBxT, padding_mask_BxT)
        contiguous = positions is None and tokens.padding_mask is None
        context = ForwardContext(tokens.padding_mask, contiguous, bias_cache={}, sizes=self.block_sizes)
        x_BxTxM = self.embed(ids_BxT, positions_LxBxT[0], ids_BxS)
        n_layer, last = len(self.blocks), self.loops * len(self.blocks) - 1
        for number in range(last + 1):
            n = number % n_layer
            encoding, positions_BxS = self.current[n], positions_LxBxS[n if len(positions_LxBxS) > 1 else 0]
            here = replace(context, contiguous_positions=False) if overrides(encoding, "relocate") else context
            layer = LayerInput(number, encoding.on_scores, encoding.relocate(positions_BxS, ids_BxS), here, cache)
            asked = replace(layer, query_start=query_start, query_index_N=index_N) if number == last else layer
            x_BxTxM = self.blocks[n](x_BxTxM, layer if self.whole_last_layer else asked)
        states = self.norm(asked.queried(x_BxTxM) if self.whole_last_layer else x_BxTxM)
        return states if padding_mask_BxT is None or query_index_N is not None else states.unflatten(0, (len(ids_BxT), -1))

    def _positions(self, ids_BxT: Tensor, positions: Tensor | None, start: int) -> Tensor:
        """`[layers or 1, B or 1, T]`, from `start` on if none are given."""
        if positions is None:
            positions = torch.arange(start, start + ids_BxT.shape[1], device=ids_BxT.device)
        return positions[(None,) * (3 - positions.dim())]

    def embed(self, ids_BxT: Tensor, positions_BxT: Tensor, ids_BxS: Tensor) -> Tensor:
        """Token embeddings, to which each encoding adds once, also where encodings alternate over the layers."""
        x_BxTxM = self.embedding(ids_BxT)
        for encoding in dict.fromkeys(self.current):
            x_BxTxM = encoding.embed(x_BxTxM, positions_BxT, ids_BxS)
        return x_BxTxM

    def head(self, x: Tensor) -> Tensor:
        """Logits `[..., vocabulary]` of hidden states."""
        return self.out(x)

    def state(self) -> dict[str, Tensor]:
        """Every parameter and persistent buffer once, whatever is shared: the content of a weights file."""
        persistent = set(self.state_dict())
        tensors = [*self.named_parameters(), *self.named_buffers()]
        return {name: tensor.detach() for name, tensor in tensors if name in persistent}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Copies the content of a weights file in. Raises ValueError that names what is missing, unknown or of another shape."""
        own = self.state()
        if own.keys() != state.keys():
            raise ValueError(f"weights do not fit: {', '.join(sorted(own.keys() ^ state.keys()))}")
        for name, tensor in own.items():
            if tensor.shape != state[name].shape:
                raise ValueError(f"weights do not fit: {name} is {list(state[name].shape)}, here {list(tensor.shape)}")
        for name, tensor in own.items():  # only once all fit, so that a refused file leaves the model as it was
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

    Raises ChoiceError for a task or an encoding that does not exist or rejects its options.
    """
    task = tasks.build(config.task)
    return LoadedModel(config, task, Transformer(config, task.vocabulary, max_train_positions(config, task)).to(device), device)
