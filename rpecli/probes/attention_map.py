"""What a trained model answers to one input, and what every head attends to on the way: a picture for notebooks."""

from dataclasses import dataclass
from functools import cached_property
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
from rpecli.task import BOS, END, MARKS, SEP, SPECIAL, Batch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_ANSWER = 1024  # tokens that a model writes at most
SAMPLED = 8  # sequences by which it is known whether all of a length have their answers at the same places
SYMBOLS = 8  # in a message
WORDS = 30  # of an input or an answer, in one line
LABELLED, SMALLEST = 40, 3.0  # words that fit beside a panel, and their size in points


@dataclass(frozen=True)
class AttentionMap:
    """What every head of a model attends to while it reads `words`, of which it wrote those at `places`, or from `prompt` on."""

    words: list[str]
    prompt: int
    weights: Tensor  # [layers, heads, T, T]: rows attend to columns
    places: tuple[int, ...] = ()  # of the answers, where these stand between the words that are read

    @property
    def answer(self) -> str:
        """The model's answer, without the end token."""
        return " ".join(self._answer)

    @property
    def _answer(self) -> list[str]:
        return [word for word, written in zip(self.words, self._written, strict=True) if written and word != MARKS[END]]

    @property
    def _written(self) -> list[bool]:
        """Whether the model wrote it, by word."""
        return [place in self.places if self.places else place >= self.prompt for place in range(len(self.words))]

    @property
    def _lines(self) -> tuple[str, str]:
        """The input and the answer, of long ones the first words."""
        read = [word for word, written in zip(self.words, self._written, strict=True) if not written]
        return few(read, WORDS, " "), few(self._answer, WORDS, " ")

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
    places = _Input(loaded, words).places()
    with torch.no_grad():
        ids_1xT = _answered(loaded, places)
        loaded.model.fit(ids_1xT.shape[1])
        with capture_layers(loaded.model) as layers:
            loaded.model(ids_1xT)
        weights_LxHxTxT = torch.cat([layer.weights(0, ids_1xT.shape[1]) for layer in layers]).cpu()
    answers = tuple(number for number, place in enumerate(places) if place is None)
    prompt = answers[0] if answers else len(places)
    return AttentionMap(loaded.task.words(ids_1xT[0].tolist()), prompt, weights_LxHxTxT, answers)


@dataclass(frozen=True)
class _Input:
    """The words of an input, and the format of the task that a model was trained on."""

    loaded: LoadedModel
    words: list[str]

    @cached_property
    def format(self) -> Batch:
        """A few sequences of the training length."""
        return self._sample(self.loaded.config.length)

    def _sample(self, length: int) -> Batch:
        return self.loaded.task.sample(np.random.default_rng(0), SAMPLED, length)

    @cached_property
    def token_of(self) -> dict[str, int]:
        """The tokens that an input may have: every symbol of the task, and the marks that its sequences have."""
        task, marks = self.loaded.task, {*self.format.tokens_BxT.flat}
        tokens = [token for token in range(task.vocabulary) if token >= SPECIAL or token in marks]
        return dict(zip(task.words(tokens), tokens, strict=True))

    def places(self) -> list[int | None]:
        """The tokens from the begin token on, None where the model is to answer; of `> input | answer .` up to the separator.

        In formats without a separator, answers are at the same places in all sequences of a length, or those in brackets, or what
        comes next. Raises ValueError where the words are no input of the task.
        """
        is_separated, tokens = SEP in self.format.tokens_BxT[0], self._tokens(self.words)
        if not {*tokens} - {BOS, SEP}:
            raise ValueError("the input is empty: write the symbols of an input, such as '3 1 2'")
        if is_separated:
            return [*tokens, SEP] if SEP not in tokens else [*tokens]
        if self.format.sets_BxT is not None:
            return [*tokens]
        asked, is_fixed = [word for word in self.words if not self._is_answer(word)], _answer_places(self.format) is not None
        if is_fixed and self.format.trained_mask_BxT is None:
            return self._with_answers(self._tokens(asked))
        if is_fixed or len(asked) == len(self.words):  # running text, or no answer is marked
            return [*tokens, None]
        words = self.words[self.words[:1] == [MARKS[BOS]] :]
        return [BOS, *(None if self._is_answer(word) else self._tokens([word])[-1] for word in words)]

    def _tokens(self, words: list[str]) -> list[int]:
        """The tokens of words, with the begin token before them."""
        words = [word[1:-1] if self._is_answer(word) else word for word in words]
        if unknown := [word for word in words if word not in self.token_of]:
            known = few([word for word, token in self.token_of.items() if token >= SPECIAL], SYMBOLS)
            task = self.loaded.config.task
            raise ValueError(f"{unknown[0]!r} is not a symbol of {task}: write words with spaces between them, such as {known}")
        tokens = [self.token_of[word] for word in words]
        return tokens if tokens[:1] == [BOS] else [BOS, *tokens]

    def _is_answer(self, word: str) -> bool:
        """Whether it is an answer as `Task.text` writes it, in brackets."""
        return word not in self.token_of and word[:1] == "[" and word[-1:] == "]" and word[1:-1] in self.token_of

    def _with_answers(self, tokens: list[int]) -> list[int | None]:
        """The tokens with None at the places where sequences with as many of them have their answers."""
        task = self.loaded.task
        for length in sorted(range(1, 2 * len(tokens) + 1), key=lambda length: abs(length - len(tokens) + 1)):
            is_answer_T = _answer_places(self._sample(length)) if task.has_length(length) else None
            if is_answer_T is not None and int((~is_answer_T).sum()) == len(tokens):
                rest = iter(tokens)
                return [None if answer else next(rest) for answer in is_answer_T]
        raise ValueError(
            f"an input of {len(tokens) - 1} symbols: {self.loaded.config.task} has none of that length: write as many as a "
            "sequence of rpe show has, without the answers in brackets"
        )


def _answer_places(batch: Batch) -> np.ndarray | None:
    """Where the answers of its sequences are, `[T]`; None where that differs among them."""
    first_T = batch.answer_mask_BxT[0]
    return first_T if (batch.answer_mask_BxT == first_T).all() else None


def _answered(loaded: LoadedModel, places: list[int | None]) -> Tensor:
    """The tokens `[1, T]` with the model's answers in their places, its likeliest token each time.

    Behind a separator it goes on up to the end token.
    """
    cache, tokens, n_read = Cache(), list[int](), 0
    for place in places:
        if place is None:
            place, n_read = _next_token(loaded, cache, tokens, n_read), len(tokens)
        tokens.append(place)
    while SEP in places and tokens[-1] != END and len(tokens) < len(places) + MAX_ANSWER:
        token, n_read = _next_token(loaded, cache, tokens, n_read), len(tokens)
        tokens.append(token)
    return torch.tensor([tokens], device=loaded.device)


def _next_token(loaded: LoadedModel, cache: Cache, tokens: list[int], n_read: int) -> int:
    """The likeliest token behind these, of which the cache holds the first `n_read`."""
    loaded.model.fit(len(tokens))
    new_1xN = torch.tensor([tokens[n_read:]], device=loaded.device)
    hidden = loaded.model(new_1xN, cache=cache, query_start=new_1xN.shape[1] - 1)
    return int(loaded.model.head(hidden).argmax(-1))
