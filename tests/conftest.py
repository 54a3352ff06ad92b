"""What the tests share: the shipped encodings and tasks by name, and small models."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers import training as tiny
from hypothesis import HealthCheck, Phase, settings

from rpecli import catalog, device, trust
from rpecli.config.recipe import Config
from rpecli.evaluate import measure
from rpecli.model import Transformer
from rpecli.train import loop as train

torch.set_num_threads(1)  # many small tests: a second thread costs more than it brings

settings.register_profile(  # the same inputs everywhere; RPE_EXAMPLES=2000 draws more of them by hand
    "rpe",
    max_examples=int(os.environ.get("RPE_EXAMPLES", 50)),
    derandomize="RPE_EXAMPLES" not in os.environ,
    database=None,
    phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if "RPE_EXAMPLES" in os.environ else [])],  # shrinking takes minutes
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("rpe")

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a shell's background job: commands under test would inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)

VOCABULARY = 20
MOST_WORKERS = 4  # of `pytest -n auto`: each holds torch


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    return min(device.n_cores(), MOST_WORKERS)


def pytest_configure(config: pytest.Config) -> None:
    """Files in the order of their names, not by number of tests: the longest file has few, and one process would end with it."""
    config.option.loadscopereorder = False


@pytest.fixture(params=catalog.names("encodings"))
def encoding_name(request: pytest.FixtureRequest) -> str:
    """Every shipped encoding, so that a new file is tested without another edit."""
    return request.param


@pytest.fixture(params=catalog.names("tasks"))
def task_name(request: pytest.FixtureRequest) -> str:
    """Every shipped task."""
    return request.param


@pytest.fixture
def model_of() -> Callable[..., Transformer]:
    """`model_of("rope", max_train_length=16, n_layer=2, ...)`: a small model, in evaluation mode."""

    def make(encoding: str, max_train_length: int = 16, **keys: object) -> Transformer:
        config = Config.from_keys(**{"task": "copy", "encoding": encoding, "d_model": 32, "n_head": 4, "n_layer": 2, **keys})
        return Transformer(config, VOCABULARY, max_train_length).eval()

    return make


@pytest.fixture
def ids_of() -> Callable[..., torch.Tensor]:
    """`ids_of(2, 9)`: the same random tokens every time."""
    return lambda batch, length: torch.randint(VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(7))


@pytest.fixture(scope="session")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four trained and evaluated runs; no test may change it."""
    runs = tmp_path_factory.mktemp("evaluated") / "runs"
    for encoding in ("rope", "learned"):
        for seed in (0, 1):
            measure.evaluate(tiny.trained_run(runs, encoding=encoding, seed=seed), device="cpu")
    return runs


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def rpe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tiny.Rpe:
    """The command in this process: `rpe("train", "--seed", 3)`."""
    return tiny.Rpe(monkeypatch, capsys)


@pytest.fixture
def trap(tmp_path: Path) -> tiny.Trap:
    """A task that does what the test says at a training batch that the test names."""
    return tiny.trap_in(tmp_path)


@pytest.fixture(autouse=True)
def own_files_may_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests write encodings and tasks of their own and build them without a command that names them."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv(trust.VARIABLE, trust.ALL)


@pytest.fixture(autouse=True)
def usual_saving(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trap in this process changes how often a run is saved; afterwards it is as before."""
    monkeypatch.setattr(train, "SAVE_SECONDS", train.SAVE_SECONDS)
