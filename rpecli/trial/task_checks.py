"""The checks of a task: the same rules that the tests apply to those that ship, with the line of what breaks one."""

import time

import numpy as np

from rpecli import catalog
from rpecli import task as tasks
from rpecli.choice import ChoiceError, parse_choice
from rpecli.config.recipe import task_defaults
from rpecli.config.settings import Settings
from rpecli.data import missing_part
from rpecli.proofs import task as proofs
from rpecli.table import plural
from rpecli.trial import task as trial
from rpecli.trial.checks import Check, DoesNotApply
from rpecli.trial.fault import Tried, described
from rpecli.trial.task import LONGEST_TRIED, Subject

LENGTHS = (1, 2, 5, 8)  # beside the training length and twice that
EVERY = 32  # lengths up to this are drawn one by one
SHOWN = 5  # lengths that a message lists
SEQUENCES = 4000  # of which chance is measured
TOKENS = 200_000  # of which speed is measured, at most SECONDS long
SECONDS = 1.0


def subject_of(tried: Tried) -> Subject:
    """The task at short lengths, at its training length and at twice that, or the nearest that there are."""
    subject = Subject(tried, LENGTHS)
    trained = training_length(subject)
    near = (subject.tried.call("has_length", subject.task.nearest_length, n) for n in (*LENGTHS, trained, 2 * trained))
    subject.lengths = tuple(sorted({length for length in near if subject.has_length(length)}))
    return subject


def training_length(subject: Subject) -> int:
    """The length of the task's own defaults, or that of all tasks."""
    defaults = catalog.class_constants(subject.tried.path).get("defaults", {})
    length = defaults.get("length") if isinstance(defaults, dict) else None
    return length if isinstance(length, int) and length > 0 else int(Settings.model_fields["length"].default)


def _shapes(subject: Subject) -> str:
    if not subject.lengths_to_draw:
        subject.require("has_length", f"says that there is no problem of a length near {training_length(subject)}")
    trial.shapes(subject)
    return f"at lengths {', '.join(map(str, subject.lengths_to_draw))}"


def _tokens(subject: Subject) -> str:
    for batch in subject.batches:
        problem = proofs.out_of_range(subject.task, batch) or proofs.wrong_order(subject.task, batch)
        subject.require("layout", problem)
        subject.tried.call("word", subject.task.text, batch)
    return f"{subject.task.symbols} symbols"


def _answers(subject: Subject) -> None:
    for batch in subject.batches:
        subject.require("layout", proofs.unmarked(batch) or proofs.wrong_answers(batch))


def _repeatable(subject: Subject) -> None:
    trial.same_seed(subject)
    for length in subject.lengths_to_draw:
        problem = subject.tried.call("layout", proofs.layout_changes, subject.task, subject.inputs(length))
        subject.require("layout", problem)


def _lengths(subject: Subject) -> str:
    """Every length that has problems can be drawn, and no sequence has more tokens than `sequence` says."""
    has = [length for length in range(1, EVERY + 1) if subject.has_length(length)]
    for length in sorted({*has, *subject.lengths_to_draw}):
        subject.tried.when = f" at length {length}"
        batch = subject.batch(length)
        subject.require("layout", proofs.wrong_layout(subject.task, batch))
        width = batch.tokens_BxT.shape[1]
        stated = subject.tried.call("sequence", subject.task.sequence, length)
        if not isinstance(stated, int | np.integer) or stated < width:
            subject.require("sequence", f"returned {described(stated)}, but a sequence has {width} tokens")
    subject.tried.when = ""
    missing = [str(length) for length in range(1, EVERY + 1) if length not in has]
    more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
    none = f"none of {', '.join(missing[:SHOWN])}{more}"
    return f"all up to {EVERY}" if not missing else f"{len(has)} of those up to {EVERY}; {none}"


def _split(subject: Subject) -> str:
    if subject.task.problems() is None:
        raise DoesNotApply("problems are drawn, not read")
    subject.require("split", missing_part(subject.task))
    return f"of {plural(subject.task.problems() or 0, 'row')}"


def _chance(subject: Subject) -> str:
    trial.chance_in_range(subject)
    length = subject.lengths_to_draw[-1] if len(subject.lengths_to_draw) < 3 else subject.lengths_to_draw[2]
    stated = subject.task.chance(length)
    if subject.task.problems() is not None:
        raise DoesNotApply("it is measured on the problems that there are")
    measured = tasks.measured_chance(subject.task, length, 2 * SEQUENCES)
    if abs(stated - measured) > proofs.chance_tolerance(stated, SEQUENCES):
        text = f"states {stated:.1%} at length {length}, but the likeliest answer at each place is right for {measured:.1%}"
        subject.require("chance", text.replace("%", " %"))
    return f"{stated:.1%} at length {length}".replace("%", " %")


def _examples(subject: Subject) -> str:
    number = len(subject.task.examples)
    if not number:
        raise DoesNotApply("the class has none")
    if parse_choice(subject.tried.choice)[1]:
        raise DoesNotApply("they are those of the options' defaults")
    trial.examples(subject)
    return f"{number} in the class"


def _variants(subject: Subject) -> str:
    tried, variants, name = subject.tried, subject.task.variants, subject.tried.choice.partition(":")[0]
    for options in variants:
        try:
            built = tasks.build(f"{name}:{options}")
            task_defaults(f"{name}:{options}")
        except ChoiceError as error:
            raise tried.fault("variants", f"{options!r}: {error}", "variants") from None
        with tried.trying(f"variant {options}", "variants"):
            built.sample(np.random.default_rng(0), 2, built.nearest_length(LENGTHS[-1]))
    if not variants:
        raise DoesNotApply("the class declares none")
    return f"{len(variants)} declared"


def _defaults(subject: Subject) -> str:
    try:
        keys = task_defaults(subject.tried.choice)
    except ChoiceError as error:
        raise subject.tried.fault("defaults", str(error).rpartition(": `defaults` ")[2], "defaults") from None
    return ", ".join(f"{key} {value}" for key, value in keys.items()) or "those of all tasks"


def _speed(subject: Subject) -> str:
    task, length = subject.task, min(training_length(subject), LONGEST_TRIED)
    length = task.nearest_length(length)
    batch = max(1, TOKENS // task.sequence(length) // 8)
    n_tokens, start = 0, time.perf_counter()
    for seed in range(8):
        n_tokens += task.sample(np.random.default_rng(seed), batch, length).tokens_BxT.size
        if time.perf_counter() - start > SECONDS:
            break
    rate = n_tokens / (time.perf_counter() - start)
    return f"{_rate(rate)} tokens a second at length {length}"


def _rate(number: float) -> str:
    """A number of tokens in millions, or in thousands where it is below 0.1 million."""
    return f"{number / 1e6:.1f} million" if number >= 1e5 else f"{number / 1e3:.1f} thousand"


CHECKS = {
    "shapes": Check(
        "draw and layout return what the engine needs",
        "Return what the message expects; rpecli/task.py describes each method.",
        _shapes,
    ),
    "tokens": Check(
        "one begin, then symbols, then at most one end",
        "Write symbols as s + SPECIAL, and let prompt_answer, prompt_answer_rows or in_sequence (rpecli/task.py) set the other "
        "tokens.",
        _tokens,
    ),
    "answers": Check(
        "every sequence has an answer that can be predicted",
        "Only tokens marked in answer_mask_BxT are scored. Mark symbols, behind the first token; the end is scored by itself.",
        _answers,
    ),
    "seed": Check(
        "the same seed gives the same strings",
        "Runs could not be repeated, and encodings would be compared on different data. Draw from the generator that draw is "
        "given, and keep nothing between calls.",
        _repeatable,
    ),
    "lengths": Check(
        "every length that has_length allows can be drawn",
        "Return False in has_length for lengths without problems, or the greatest length in longest.",
        _lengths,
    ),
    "split": Check(
        "rows are left to train, to validate and to test on",
        "Where nothing names splits, one row in five of every length is held out to test on, and one in five to validate on.",
        _split,
    ),
    "chance": Check(
        "the best guess without the input is right as often",
        "Rescaled accuracy puts chance at 0, and would be wrong. Compute it, or write return measured_chance(self, length).",
        _chance,
    ),
    "examples": Check(
        "the worked examples are what layout gives",
        "Correct the example or layout.",
        _examples,
    ),
    "defaults": Check("defaults are recipe keys with valid values", "rpe check --keys lists them.", _defaults),
    "variants": Check(
        "every declared variant builds",
        "A variant is written as its options in alphabetical order, with a dictionary of recipe keys.",
        _variants,
    ),
    "speed": Check("sequences are drawn", "Mend what the message says.", _speed),
}  # fmt: skip


def run(name: str, tried: Tried) -> str | None:
    """Runs one check; raises as `Check` says."""
    subject = subject_of(tried)
    with tried.trying(name):
        return CHECKS[name].run(subject)
