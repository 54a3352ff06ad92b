"""What a trained model answers to one input, and what every head attends to on the way: a picture for notebooks."""

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rpecli import data, plot
from rpecli.attention.cache import Cache
from rpecli.model import LoadedModel
from rpecli.probes.attention_weights import capture_layers
from rpecli.table import few
from rpecli.task import BOS, END, MARKS, SEP

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_ANSWER = 1024  # tokens that a model writes at most
SYMBOLS = 8  # in a message
WORDS = 30  # of an input or an answer, in one line
LABELLED, SMALLEST = 40, 3.0  # words that fit beside a panel, and their size in points


@dataclass(frozen=True)
class AttentionMap:
    """What every head of a model attends to while it reads `words`, of which it wrote those from `prompt` on itself."""

    words: list[str]
    prompt: int
    weights: Tensor  # [layers, heads, T, T]: rows attend to columns

    @property
    def answer(self) -> str:
        """The model's answer, without the end token."""
        return " ".join(self._answer)

    @property
    def _answer(self) -> list[str]:
        return [word for word in self.words[self.prompt :] if word != MARKS[END]]

    @property
    def _lines(self) -> tuple[str, str]:
        """The input and the answer, of long ones the first words."""
        return few(self.words[: self.prompt], WORDS, " "), few(self._answer, WORDS, " ")

    def plot(self, layer: int | None = None) -> "Figure":
        """A panel per head, of one layer (from 1 on) or of all: a row is a token, and darker columns are what it attends to.

        Raises ValueError for a layer that the model has not.
        """
        n_layer, n_head, T = self.weights.shape[:3]
        if layer is not None and (type(layer) is not int or not 1 <= layer <= n_layer):
            raise ValueError(f"layer {layer!r:.60}: the model has layers 1 to {n_layer}")
        layers, size = range(n_layer) if layer is None else [layer - 1], min(8, SMALLEST * LABELLED / T)
        with plot.styled():
            figure = plot.new_figure()
            figure.set_layout_engine("constrained")
            figure.set_size_inches(2.2 * n_head, 2.5 * len(layers) + 0.2)
            panels = figure.subplots(len(layers), n_head, squeeze=False)
            for row, number in enumerate(layers):
                for head in range(n_head):
                    panel = panels[row, head]
                    panel.imshow(self.weights[number, head].numpy(), vmin=0, vmax=1, cmap="Blues")
                    panel.set_title(f"layer {number + 1}, head {head + 1}", pad=5)
                    if T <= LABELLED:
                        panel.set_xticks(range(T), self.words, fontsize=size)
                        panel.set_yticks(range(T), self.words, fontsize=size)
            figure.supxlabel("attended to", fontsize=8, color=plot.QUIET)
            figure.supylabel("token", fontsize=8, color=plot.QUIET)
        return plot.for_notebooks(figure)

    def __repr__(self) -> str:
        layers, heads, T, _ = self.weights.shape
        text = " ".join(self._lines).strip()
        return f"AttentionMap({text!r}, {layers} layers, {heads} heads, {T} tokens)"

    def _repr_html_(self) -> str:
        prompt, answer = map(escape, self._lines)
        return f"<p>{prompt} <b>{answer}</b></p>"


def attention_map(loaded: LoadedModel, words: list[str]) -> AttentionMap:
    """The answer of a model to an input, and its attention. Raises ValueError where it cannot read the input."""
    config = loaded.config
    if config.attention != "causal":
        raise ValueError("an encoder answers all places at once: attention is for causal models")
    if (kind := data.fixed_kind(config)) != "start":
        raise ValueError(f"the run has {kind} positions: attention is for models whose tokens have positions 0, 1, 2, ...")
    tokens = _tokens(loaded, words)
    with torch.no_grad():
        ids_1xT = _answered(loaded, torch.tensor([tokens], device=loaded.device))
        loaded.model.fit(ids_1xT.shape[1])
        with capture_layers(loaded.model) as layers:
            loaded.model(ids_1xT)
        weights_LxHxTxT = torch.cat([layer.weights(0, ids_1xT.shape[1]) for layer in layers]).cpu()
    return AttentionMap(loaded.task.words(ids_1xT[0].tolist()), len(tokens), weights_LxHxTxT)


def _tokens(loaded: LoadedModel, words: list[str]) -> list[int]:
    """The tokens of an input, with the begin token before it and, where the task's format has one, the separator behind it."""
    task = loaded.task
    format_T = task.sample(np.random.default_rng(0), 1, loaded.config.length).tokens_BxT[0].tolist()
    token_of = dict(zip(task.words(list(range(task.vocabulary))), range(task.vocabulary), strict=True))
    words = [word if word in token_of else word.strip("[]") for word in words]
    if unknown := [word for word in words if word not in token_of]:
        known = few(list(token_of)[len(MARKS) :], SYMBOLS)
        raise ValueError(
            f"{unknown[0]!r} is not a symbol of {loaded.config.task}: write words with spaces between them, such as {known}"
        )
    tokens = [token_of[word] for word in words]
    tokens = tokens if tokens[:1] == [BOS] else [BOS, *tokens]
    return [*tokens, SEP] if SEP in format_T and SEP not in tokens else tokens


def _answered(loaded: LoadedModel, ids_1xT: Tensor) -> Tensor:
    """The tokens followed by the model's answer, its likeliest token each time, up to the end token."""
    cache, new_1xN, first = Cache(), ids_1xT, ids_1xT.shape[1]
    while SEP in ids_1xT and ids_1xT[0, -1] != END and ids_1xT.shape[1] < first + MAX_ANSWER:
        loaded.model.fit(ids_1xT.shape[1])
        hidden = loaded.model(new_1xN, cache=cache, query_start=new_1xN.shape[1] - 1)
        new_1xN = loaded.model.head(hidden).argmax(-1)
        ids_1xT = torch.cat([ids_1xT, new_1xN], dim=1)
    return ids_1xT
