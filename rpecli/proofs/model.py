"""Measures of a model with an encoding: dependence on later tokens, decoding, padding, shifts of positions, gradients."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rpecli.attention.cache import Cache
from rpecli.model import Transformer

PADDED_LENGTHS = (4, 7, 9)  # of the rows of `padded`
COLUMNS = {  # of 11, where the tokens of each row stand; the others are padding
    "left": ([7, 8, 9, 10], range(4, 11), range(2, 11)),
    "right": (range(4), range(7), range(9)),
    "middle": ([0, 1, 9, 10], [0, 1, 2, 5, 6, 9, 10], [*range(4), *range(6, 11)]),
    "both": (range(3, 7), range(2, 9), range(1, 10)),
    "scattered": ([1, 4, 6, 9], [0, 2, 3, 5, 7, 8, 10], [0, 1, 2, 4, 5, 6, 8, 9, 10]),
}


@torch.no_grad()
def hidden_states(model: Transformer, ids_BxT: Tensor, **options: object) -> Tensor:
    return model(ids_BxT, **options)


def dependence(model: Transformer, ids_1xT: Tensor) -> Tensor:
    """`[T, T]`: the size of the gradient of output i with respect to the embedding of token j."""
    leaves: list[Tensor] = []

    def as_leaf(_: nn.Module, __: object, output: Tensor) -> Tensor:
        leaves.append(output.detach().requires_grad_())
        return leaves[0]

    hook = model.embedding.register_forward_hook(as_leaf)
    logits_TxV = model.head(model(ids_1xT))[0]
    hook.remove()
    gradients = [torch.autograd.grad(row_V.square().sum(), leaves[0], retain_graph=True)[0] for row_V in logits_TxV]
    return torch.cat(gradients).abs().sum(dim=-1)


def decoding_error(model: Transformer, ids_BxT: Tensor, steps: Sequence[int], positions_T: Tensor | None = None) -> float:
    """The largest difference between the states of parts of these sizes, decoded with a cache, and those of a full pass."""
    cache, states = Cache(), list[Tensor]()
    for part in torch.arange(ids_BxT.shape[1]).split(list(steps)):
        part_positions = None if positions_T is None else positions_T[part]
        states.append(hidden_states(model, ids_BxT[:, part], positions=part_positions, cache=cache))
    return largest(torch.cat(states, dim=1) - hidden_states(model, ids_BxT, positions=positions_T))


def batch_error(model: Transformer, ids_BxT: Tensor) -> float:
    """The largest difference between the states of sequences in one batch and of each alone; NaN where one is not finite."""
    alone = torch.cat([hidden_states(model, ids_1xT) for ids_1xT in ids_BxT.split(1)])
    return largest(hidden_states(model, ids_BxT) - alone)


def padded(ids_BxT: Tensor, where: str, start: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """The first tokens of each row among padding: ids, positions from `start` on, and the padding mask."""
    ids, positions = torch.full((3, 11), 5), torch.full((3, 11), 77)  # padding may be anything
    padding_mask = torch.ones(3, 11, dtype=torch.bool)
    for row, (n, columns) in enumerate(zip(PADDED_LENGTHS, COLUMNS[where], strict=True)):
        place = torch.tensor(list(columns))
        ids[row, place], positions[row, place], padding_mask[row, place] = ids_BxT[row, :n], start + torch.arange(n), False
    return ids, positions, padding_mask


def padding_error(model: Transformer, ids_3x9: Tensor, where: str) -> float:
    """The largest difference between the states of tokens among padding and those without it; NaN where one is not finite."""
    ids, positions, padding_mask = padded(ids_3x9, where)
    states = hidden_states(model, ids, positions=positions, padding_mask_BxT=padding_mask)
    pairs = [
        (states[row][~padding_mask[row]], hidden_states(model, ids_3x9[row : row + 1, :n])[0])
        for row, n in enumerate(PADDED_LENGTHS)
    ]
    return largest(torch.cat([states.flatten() * 0, *((one - other).flatten() for one, other in pairs)]))


def shift_change(model: Transformer, ids_BxT: Tensor, shift: int) -> float:
    """The largest change of the logits when every position moves by `shift`."""
    positions_T = torch.arange(ids_BxT.shape[1])
    here, there = (model.head(hidden_states(model, ids_BxT, positions=positions_T + start)) for start in (0, shift))
    return largest(here - there)


def without_gradient(model: Transformer, ids_BxT: Tensor) -> list[str]:
    """The parameters of the encodings that training would not move: those whose gradient is missing, or zero everywhere."""
    model.zero_grad(set_to_none=True)
    model.head(model(ids_BxT)).logsumexp(-1).square().sum().backward()
    named = dict(model.encodings.named_parameters())
    return [name for name, parameter in named.items() if parameter.grad is None or not bool(parameter.grad.any())]


def move_encodings(model: Transformer, ids_BxT: Tensor, steps: int = 5, lr: float = 0.05) -> None:
    """Takes a few steps of training with the encodings' parameters alone, whose initial zeros and ones would hide mistakes."""
    parameters = list(model.encodings.parameters())
    if not parameters:
        return
    optimizer = torch.optim.AdamW(parameters, lr)
    for _ in range(steps):
        optimizer.zero_grad()
        logits_BxTxV = model.head(model(ids_BxT))
        nn.functional.cross_entropy(logits_BxTxV[:, :-1].flatten(0, 1), ids_BxT[:, 1:].flatten()).backward()
        optimizer.step()


def largest(difference: Tensor) -> float:
    """The largest absolute number; NaN if one is NaN or infinite."""
    return float(difference.detach().abs().max()) if bool(difference.isfinite().all()) else float("nan")
