"""The checks of an encoding: the same measures that the tests apply to those that ship, with the line of what breaks one."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import MethodType
from typing import Any

import torch
from torch import Tensor

from rpecli import encoding
from rpecli.config.recipe import Config, Recipe
from rpecli.encoding import Encoding, Shape, TooLongError
from rpecli.model import Transformer
from rpecli.proofs import model as proofs
from rpecli.train import stacked
from rpecli.trial.checks import Broken, Check, DoesNotApply
from rpecli.trial.encoding import VOCABULARY, attempt, own_hook
from rpecli.trial.fault import Tried

TOLERANCE = 1e-4  # of hidden states, which are about 1; what ships is within 2e-5
SHIFT_TOLERANCE = 1e-3  # of logits: angles in float32 lose digits; what ships is within 1e-5
SHIFTS = (1, 61, 500)
FAR = 8  # times the training length


@dataclass(frozen=True)
class Subject:
    """An encoding to check, and small models with it; `without` names a hook to leave out of it."""

    tried: Tried
    shape: Shape
    without: str = ""

    def model(self, causal: bool = True) -> Transformer:
        """A model of two layers after a few steps of training the encoding alone."""
        config = self.config(attention="causal" if causal else "bidirectional")
        model = Transformer(config, VOCABULARY, self.shape.max_train_length)
        proofs.move_encodings(model, self.ids(4, self.shape.max_train_length))
        if self.without:
            for instance in model.encodings:
                owner = instance if self.without == "embed" else instance.on_scores
                setattr(owner, self.without, MethodType(_left_out(self.without, owner), owner))  # type: ignore[arg-type]
        return model.eval()

    def config(self, **keys: Any) -> Config:
        shape = {"d_model": self.shape.d_model, "n_head": self.shape.n_head, "n_layer": 2}
        return Config.from_keys(task=Recipe.model_fields["task"].default[0], encoding=self.tried.choice, **shape, **keys)

    def ids(self, batch: int, length: int) -> Tensor:
        return torch.randint(4, VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(7))

    @property
    def cls(self) -> type[Encoding]:
        return type(self.instance)

    @property
    def instance(self) -> Encoding:
        return encoding.make(self.tried.choice, self.shape)


def _left_out(hook: str, owner: Encoding) -> Callable[..., Any]:
    """What takes the place of a hook: what the contract does without it; features of each token by itself."""
    own = getattr(owner, hook)
    replacements: dict[str, Callable[..., Any]] = {
        "features": lambda _, x_BxTxM: torch.cat([own(x_Bx1xM) for x_Bx1xM in x_BxTxM.split(1, dim=1)], dim=2),
        "by_distance": lambda self, distance: torch.zeros(self.shape.n_head, *distance.shape),
        "bias": lambda self, q, k: torch.zeros(1, self.shape.n_head, q.shape[1], k.shape[1]),
        "query_weights": lambda _, qk: torch.zeros_like(own(qk)),
    }
    return replacements.get(hook) or getattr(Encoding, hook)


def run(name: str, tried: Tried, shape: Shape) -> str | None:
    """Runs one check. Raises Fault with the line of the hook without which it would hold, else that of the class."""
    check, subject = CHECKS[name], Subject(tried, shape)
    try:
        with tried.trying(name):
            return check.run(subject)
    except Broken as error:
        for hook in ("features", "score", "bias", "by_distance", "query_weights", "rotate", "embed"):
            instance = subject.instance if hook == "embed" else subject.instance.on_scores
            function = own_hook(instance, hook)
            if function is not None and _holds(check, replace(subject, without=hook)):
                raise tried.fault(hook, str(error), function) from None
        raise tried.fault(subject.cls.__name__, str(error), subject.cls) from None


def _holds(check: Check, subject: Subject) -> bool:
    try:
        check.run(subject)
    except (Exception, SystemExit):  # without a hook that another one needs it says nothing
        return False
    return True


def _shapes(subject: Subject) -> None:
    attempt(subject.tried, subject.shape)


def _causality(subject: Subject) -> None:
    size_TxT = proofs.dependence(subject.model(), subject.ids(1, 9))
    later = size_TxT.triu(1).nonzero().tolist()
    if later:
        raise Broken(f"the output of token {later[0][0]} depends on token {later[0][1]}, which comes later")


def _decoding(subject: Subject) -> None:
    error = proofs.decoding_error(subject.model(), subject.ids(2, 12), [5, 1, 1, 5])
    if not error < TOLERANCE:
        raise Broken(f"token by token, hidden states differ by {error:.2g} from those of the whole sequence at once")


def _batch(subject: Subject) -> None:
    model, ids = subject.model(), subject.ids(3, 9)
    error = proofs.batch_error(model, ids)
    if not error < TOLERANCE:
        raise Broken(f"in a batch of {len(ids)}, hidden states differ by {error:.2g} from those of each sequence alone")


def _padding(subject: Subject) -> str | None:
    directions = [True] if subject.cls.causal_only else [True, False]
    for causal in directions:
        for where in ("left", "right", "middle"):
            error = proofs.padding_error(subject.model(causal), subject.ids(3, 9), where)
            if not error < TOLERANCE:
                kind = "causal" if causal else "bidirectional"
                raise Broken(f"padding changes hidden states by {error:.2g} (where: {where}; attention: {kind})")
    return "causal attention only" if len(directions) == 1 else None


def _shift(subject: Subject) -> str:
    model, ids = subject.model(), subject.ids(1, 12)
    change = max(proofs.shift_change(model, ids, shift) for shift in SHIFTS)
    states = model.encodings[0].shift_invariant
    if states and not change < SHIFT_TOLERANCE:
        raise Broken(f"logits change by {change:.2g} if all positions move, and shift_invariant = True says that they do not")
    if not states and change < SHIFT_TOLERANCE:
        text = "is False, but no logit changes if all positions move: write shift_invariant = True"
        raise subject.tried.fault("shift_invariant", text, "shift_invariant")
    return f"shift_invariant = {states}"


def _finite(subject: Subject) -> None:
    length = FAR * subject.shape.max_train_length
    model = subject.model()
    try:
        model.fit(length)
    except TooLongError as error:
        raise DoesNotApply(str(error)) from None
    if not bool(model.head(proofs.hidden_states(model, subject.ids(1, length))).isfinite().all()):
        raise Broken(f"logits are NaN or infinite at {length} tokens, after training to {subject.shape.max_train_length}")


def _gradients(subject: Subject) -> str:
    model = subject.model().train()
    parameters = dict(model.encodings.named_parameters())
    if not parameters:
        raise DoesNotApply("it learns nothing")
    missing = proofs.without_gradient(model, subject.ids(4, subject.shape.max_train_length))
    if missing:
        name = missing[0].partition(".")[2]  # behind the number of the layer
        raise subject.tried.fault(name, "gets no gradient: nothing that the model computes depends on it", name.partition(".")[0])
    return f"{sum(parameter.numel() for parameter in parameters.values()):,} numbers in {subject.config().n_layer} layers"


def _stacked(subject: Subject) -> None:
    configs = [subject.config(seed=seed, length=8, tokens=64) for seed in (0, 1)]
    reason = stacked.why_not_stackable(configs, torch.device("cpu"))
    if reason and "no gradient" in reason:
        raise DoesNotApply(f"{reason}: see gradients")
    if reason and reason.startswith("torch cannot"):
        raise DoesNotApply(f"{reason}; seeds train one by one, which takes longer on a GPU")
    if reason:
        raise subject.tried.fault(subject.cls.__name__, reason, subject.cls)


CHECKS = {
    "shapes": Check(
        "every hook returns what the engine needs",
        "Return what the message expects; rpecli/encoding.py has the shapes.",
        _shapes,
    ),
    "causality": Check(
        "no output depends on a later token",
        "A model that sees the future predicts it in training, and fails where it generates. Use only the keys up to the query, "
        "such as a cumulative sum, and no statistic of the whole sequence.",
        _causality,
    ),
    "decoding": Check(
        "decoding with a cache equals the full pass",
        "The cache keeps keys, values and features of each token. Compute features from one token at a time, take positions from "
        "the arguments (never an arange), and keep nothing between calls.",
        _decoding,
    ),
    "batch": Check(
        "a sequence does not depend on the others of its batch",
        "Evaluation puts other sequences beside it than training. Reduce over no first dimension, and do not use its size.",
        _batch,
    ),
    "padding": Check(
        "padding changes nothing",
        "Padding has features 0 and the position of a neighbour. Use positions from the arguments, not the places of tokens, and "
        "no number that depends on how many keys there are.",
        _padding,
    ),
    "shift": Check(
        "logits change with a shift as the class declares",
        "Reports and probes go by what the class declares. Set shift_invariant to what is so, or use differences of positions.",
        _shift,
    ),
    "finite": Check(
        f"logits are finite at {FAR} times the training length",
        "Evaluation at long lengths would be NaN. Clamp what grows without a limit, or divides by something that becomes 0.",
        _finite,
    ),
    "gradients": Check(
        "every parameter gets a gradient",
        "Training never moves such a parameter. Use it in a hook, or remove it; an initial value of 0 on both sides of a product "
        "gives this too.",
        _gradients,
    ),
    "stacked": Check(
        "several seeds train as one program",
        "A step of several seeds together gives other numbers than each alone: draw no random numbers in a hook, and keep "
        "nothing between calls but buffers.",
        _stacked,
    ),
}  # fmt: skip
