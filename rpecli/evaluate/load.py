"""Loads the model of a trained run, with its own encoding or another one in its place."""

import torch

from rpecli import tensor_file
from rpecli.choice import ChoiceError, canonical
from rpecli.config.recipe import Config
from rpecli.device import pick_device
from rpecli.evaluate.asked import config_of
from rpecli.evaluate.eval_set import evaluation_task
from rpecli.evaluate.memory import ran_out_of_memory
from rpecli.evaluate.request import EvalRequest
from rpecli.model import LoadedModel, Transformer, build
from rpecli.run.code import check_copies
from rpecli.run.directory import Run
from rpecli.run.files import RunError
from rpecli.run.problems import about, checked_weights, foreign_weights
from rpecli.run.provenance import data_sources


def load(run: Run, device: str = "auto", request: EvalRequest = EvalRequest()) -> tuple[LoadedModel, str]:  # noqa: B008 - frozen
    """The model of a trained run, ready to evaluate, and the fingerprint of its weights file (8 hexadecimal digits).

    Raises RunError, with the cause and its own remedy, for a run that is not trained, weights that are damaged or do not fit, and
    a model that needs more memory than there is.
    """
    if not run.is_trained:
        raise RunError(f"{run} is not trained yet: {run.train_command}")
    config, override, torch_device = config_of(run, request), request.encoding_override, pick_device(device)
    check_data(run, config)
    state = tensor_file.read(run.weights_file, f"delete {run} and train it again")
    weights = checked_weights(run)
    check_copies(run.path, run.config, run.record)
    encoding = canonical(override, run.path) if override else config.encoding  # its own file stands in the run directory
    try:
        loaded = build(config.model_copy(update={"encoding": encoding}), torch_device)
        loaded.model.load_state(state if override is None else _without_foreign_encodings(state, loaded.model))
        loaded.task = evaluation_task(config)
    except ChoiceError as error:
        raise RunError(about(run, str(error))) from None
    except ValueError as error:
        raise RunError(f"{run.weights_file}: {error}: {_remedy(run, override)}") from None
    except (MemoryError, RuntimeError) as error:
        if not ran_out_of_memory(error):
            raise
        raise RunError(f"{run.name}: its model does not fit in the memory of {device}: free some, or --device cpu") from None
    loaded.model.switch(True)
    loaded.model.loops = config.eval.eval_loops or config.loops
    loaded.model.eval()
    return loaded, weights


def check_data(run: Run, config: Config) -> None:
    """Raises RunError where the user's own data is not what the run was trained on."""
    for path, recorded in run.record.get("data", {}).items():
        now = data_sources(config).get(path)
        if now != recorded:
            raise RunError(f"{run}: {path} has changed since this run was trained ({recorded}, now {now}): train it again")


def _remedy(run: Run, override: str | None) -> str:
    if override is not None:
        return f"the weights of {override} were not trained: choose one without parameters, or the run's own"
    return foreign_weights(run)


def _without_foreign_encodings(state: dict[str, torch.Tensor], model: Transformer) -> dict[str, torch.Tensor]:
    """A weights file without the parameters of encodings that the model does not have."""
    own = model.state()
    return {name: tensor for name, tensor in state.items() if name.split(".")[0] not in ("encodings", "later") or name in own}
