"""Any fault in any hook of a user's encoding or task is told in one line with file, line and hook, before training starts.

Hooks that work and faults are combined: what a hook returns is changed, or it raises, ends its process, never returns, or changes
what is not its own. All files are tried by the process that commands try them with.
"""

import os
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rpecli import trust
from rpecli.choice import canonical
from rpecli.escape import visible
from rpecli.trial import child
from rpecli.trial.child import Trial

SAMPLE = int(os.environ.get("RPE_EXAMPLES", 10))  # of the faults that cost a process each
HARMLESS = {("longest", "return None"), ("features", "return None")}  # both may be None


@dataclass(frozen=True)
class Hook:
    """A hook of a class that works, and the expression that it returns."""

    kind: str
    base: str
    signature: str
    value: str
    others: str = ""  # what the class needs beside it

    @property
    def name(self) -> str:
        return self.signature.partition("(")[0]


CURVE = Hook("encodings", "DistanceCurve", "query_weights(self, qk)", "qk.q_BxHxTxD[..., :2]")
BASIS = Hook("encodings", "DistanceCurve", "distance_basis(self, distance_N)", "torch.ones(1, 2, len(distance_N))")


def method(hook: Hook) -> str:
    return f"    def {hook.signature}:\n        return {hook.value}\n"


LIMIT = "    max_distance = 4\n"
ENCODING_HOOKS = [
    Hook("encodings", "Encoding", "embed(self, x_BxTxM, positions_BxT, ids_BxS)", "x_BxTxM * 1"),
    Hook("encodings", "Encoding", "features(self, x_BxTxM)", "x_BxTxM.unflatten(-1, (self.shape.n_head, -1)).transpose(1, 2)"),
    Hook("encodings", "Encoding", "rotate(self, qk)", "(qk.q_BxHxTxD, qk.k_BxHxSxD)"),
    Hook("encodings", "Encoding", "bias(self, q_pos_BxT, k_pos_BxS)",
         "torch.zeros(1, self.shape.n_head, q_pos_BxT.shape[1], k_pos_BxS.shape[1])"),
    Hook("encodings", "Encoding", "score(self, logits_BxHxTxS, qk)", "logits_BxHxTxS * 1"),
    Hook("encodings", "DistanceBias", "by_distance(self, distance)", "torch.zeros(self.shape.n_head, *distance.shape)"),
    Hook(**vars(CURVE) | {"others": LIMIT + method(BASIS)}),
    Hook(**vars(BASIS) | {"others": LIMIT + method(CURVE)}),
    Hook("encodings", "DistanceCurve", "content_qk(self, qk)", "(qk.q_BxHxTxD, qk.k_BxHxSxD)",
         LIMIT + method(CURVE) + method(BASIS)),
]  # fmt: skip
DRAW = Hook("tasks", "Task", "draw(self, rng, batch, length)", "rng.integers(self.symbols, size=(batch, length))")
LAYOUT = Hook("tasks", "Task", "layout(self, x_BxN)", "prompt_answer(x_BxN, x_BxN)")
STATED = "    symbols, family = 8, 'copying'\n"
TASK_HOOKS = [
    Hook(**vars(DRAW) | {"others": STATED + method(LAYOUT)}),
    Hook(**vars(LAYOUT) | {"others": STATED + method(DRAW)}),
    Hook("tasks", "Task", "has_length(self, length)", "True", STATED + method(DRAW) + method(LAYOUT)),
    Hook("tasks", "Task", "longest(self)", "64", STATED + method(DRAW) + method(LAYOUT)),
    Hook("tasks", "Task", "chance(self, length)", "0.125", STATED + method(DRAW) + method(LAYOUT)),
]
HOOKS = ENCODING_HOOKS + TASK_HOOKS

RAISED = [  # in any hook
    *(f"raise {error}" for error in
      ("ValueError('no')", "KeyError('k')", "RuntimeError('a\\nb')", "IndexError", "StopIteration", "NotImplementedError",
       "MemoryError", "OSError(2, 'gone', 'x')", "Exception('\\x1b[31mred')")),
    "1 / 0", "assert False", "nosuchname", "self.nosuch", "(lambda f: f(f))(lambda f: f(f))", "import nosuchmodule",
    "raise Odd", "import sys; sys.exit(0)",
    "import sys; sys.exit('bye')", "raise GeneratorExit", "import os; os._exit(0)",
]  # fmt: skip
WRONG = ["return None", "return 'x'", "return object()", "return {}", "return [value]", "return (value, value, value)"]
WRONG_TENSOR = [
    *(f"return of(value, lambda v: {change})" for change in
      ("v[None]", "v.flatten()", "v[..., None]", "v.long()", "v.bool()", "v.double()", "v.half()", "v.numpy()",
       "v * float('nan')", "v.to('cuda')", "v.to('nosuch')", "v[:0]", "v.tolist()")),
]  # fmt: skip
ENDS = [  # the process
    "import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "import os; os.abort()", "import ctypes; ctypes.string_at(0)",
    "while True: pass", "import time; time.sleep(99)",
]  # fmt: skip
TOO_LONG = r"is not done after (1 s of computing|\d+ s, of which it computed [01]): "
SIDE_EFFECTS = [  # which leave the answer right, or spoil what comes later
    "import os; os.chdir('/')", "import os; os.remove(__file__)", "import sys; sys.stdout.close()",
    "import sys; print('HELLO', file=sys.stderr)", "torch.manual_seed(0)", "torch.set_default_dtype(torch.float64)",
    "torch.set_grad_enabled(False)", "import random; random.seed(0)", "self.shape = None", "import gc; gc.disable()",
    "import warnings; warnings.warn('odd')", "import threading, time; threading.Thread(target=time.sleep, args=(9,)).start()",
    "import sys; sys.setrecursionlimit(60)", "import builtins; builtins.len = None", "import os; os.fork()",
]  # fmt: skip

FILE = """import torch
{imported}


def of(value, change):
    return tuple(map(change, value)) if isinstance(value, tuple) else change(value)


class Odd(Exception):
    def __str__(self):
        raise ValueError


class Mine({base}):
{others}    def __init__(self, {shape}*, fault: int = 0):
        super().__init__({shape})
        self.fault = fault

    def {signature}:
        value = {value}
{faults}        return value
"""
IMPORTED = {"tasks": "from rpecli.task import Task, prompt_answer",
            "encodings": "from rpecli.encoding import DistanceBias, DistanceCurve, Encoding"}  # fmt: skip


def write(folder: Path, hook: Hook, faults: list[str]) -> list[Trial]:
    """A file whose option `fault` chooses one of these faults of a hook, and a trial for each."""
    path = folder / f"odd{len(list(folder.iterdir()))}.py"
    lines = "".join(f"        if self.fault == {n}:\n            {fault}\n" for n, fault in enumerate(faults))
    shape = "shape, " if hook.kind == "encodings" else ""
    text = FILE.format(**vars(hook), imported=IMPORTED[hook.kind], faults=lines, shape=shape)
    path.write_text(text.replace("(shape, )", "(shape)"))
    choice = canonical(str(path))
    trust.allow([choice])
    return [Trial(hook.kind, f"{choice}:fault={n}", 16, 2) for n in range(len(faults))]


def told_of(hook: Hook, trial: Trial, problem: str) -> Iterator[str]:
    """What is wrong with the message about a faulty hook."""
    name = trial.path.name
    in_training = f"{name}: a training step: " in problem  # where no line of the file is at fault
    if not in_training and not re.match(rf"{name}:\d+: ", problem):
        yield "does not begin with file and line"
    if not in_training and hook.name not in problem:
        yield "does not name the hook"
    if problem.count("\n") or len(problem) > 500 or "Traceback" in problem or not visible(problem).isprintable():
        yield "is not one plain line"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(child, "SECONDS", 1.0)
    return tmp_path


def applicable(hook: Hook) -> list[str]:
    """The faults of what a hook raises or returns."""
    faults = RAISED + WRONG + (WRONG_TENSOR if hook.kind == "encodings" else [])
    return [fault for fault in faults if (hook.name, fault) not in HARMLESS]


def test_the_hooks_work_without_a_fault(folder: Path) -> None:
    trials = [trial for hook in HOOKS for trial in write(folder, hook, ["pass"])]
    assert child.problems(trials) == [None] * len(trials)


@pytest.mark.parametrize("hook", HOOKS, ids=[hook.name for hook in HOOKS])
def test_a_fault_in_a_hook_is_told_with_its_line(hook: Hook, folder: Path) -> None:
    faults = applicable(hook)
    trials = write(folder, hook, faults)
    odd = {}
    for fault, trial, problem in zip(faults, trials, child.problems(trials), strict=True):
        if problem is None:
            odd[fault] = "accepted"
        elif wrong := list(told_of(hook, trial, problem)):
            odd[fault] = f"{', '.join(wrong)}: {problem}"
    assert not odd


def test_a_hook_that_ends_its_process_or_never_returns_is_told(folder: Path) -> None:
    for hook, fault in random.Random(0).sample(
        pairs := [(hook, fault) for hook in HOOKS for fault in ENDS], min(SAMPLE, len(pairs))
    ):
        (trial,) = write(folder, hook, [fault])
        (problem,) = child.problems([trial])
        assert problem, (hook.name, fault)
        assert not list(told_of(hook, trial, problem)), problem
        assert ("ended the process" in problem) != bool(re.search(TOO_LONG, problem)), problem


def test_what_a_hook_does_beside_its_answer_reaches_no_other_file(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for hook, fault in random.Random(1).sample(
        pairs := [(hook, fault) for hook in HOOKS for fault in SIDE_EFFECTS], min(SAMPLE, len(pairs))
    ):
        (trial,), (other,) = write(folder, hook, [fault]), write(folder, hook, ["pass"])
        problem, spoiled = child.problems([trial, other])
        assert problem is None or not list(told_of(hook, trial, problem)), (fault, problem)
        assert not spoiled, (fault, spoiled)
    assert Path.cwd() == folder
    assert "Traceback" not in capfd.readouterr().err


GLOBAL = [  # settings of the whole process, which other code computes by too
    "torch.set_default_dtype(torch.float64)", "torch.set_grad_enabled(False)", "torch.set_num_threads(13)",
    "torch.set_default_device('meta')", "torch.set_float32_matmul_precision('medium')", "torch.manual_seed(4711)",
    "import numpy; numpy.seterr(all='raise')", "import os; os.chdir('/')",
]  # fmt: skip


@pytest.mark.parametrize("hook", HOOKS, ids=[hook.name for hook in HOOKS])
def test_a_hook_that_changes_a_setting_of_the_process_is_named(hook: Hook, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "SECONDS", 30.0)
    trials = write(folder, hook, GLOBAL)
    for fault, problem in zip(GLOBAL, child.problems(trials), strict=True):
        line = (folder / "odd0.py").read_text().splitlines().index(f"            {fault}") + 1
        called = fault.partition("(")[0].rpartition(".")[2]
        assert (problem or "").startswith(f"odd0.py:{line}: {hook.name}"), (fault, problem)
        assert f": {called} changes all of the process" in str(problem)
