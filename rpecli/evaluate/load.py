"""Loads the model of a trained run, with its own encoding or another one in its place."""

import torch
from safetensors.torch import load_file

from rpecli import catalog
from rpecli.choice import canonical
from rpecli.device import pick_device
from rpecli.evaluate.request import EvalRequest
from rpecli.model import LoadedModel, Transformer, build
from rpecli.run.code import check_copies
from rpecli.run.directory import Run
from rpecli.run.files import RunError


def load(run: Run, device: str = "auto", request: EvalRequest = EvalRequest()) -> tuple[LoadedModel, str]:  # noqa: B008 - frozen
    """The model of a trained run, ready to evaluate, and the fingerprint of its weights file (8 hexadecimal digits).

    Raises RunError for a run that is not trained, and for weights that are damaged or do not fit the encoding.
    """
    if not run.is_trained:
        raise RunError(f"{run} is not trained yet: rpe train {run.recipe_file}")
    config, override = run.config, request.encoding_override
    check_copies(run.path, config, run.record)
    encoding = canonical(override, run.path) if override else config.encoding  # its own file stands in the run directory
    choices = {"eval": request.settings or config.eval, "encoding": encoding}
    loaded = build(config.model_copy(update=choices), pick_device(device))
    try:
        state = load_file(run.weights_file, device=str(loaded.device))
        loaded.model.load_state(state if override is None else _without_foreign_encodings(state, loaded.model))
    except Exception as error:
        remedy = f"delete {run} and train it again" if override is None else "choose one without parameters, or the run's own"
        raise RunError(f"{run.weights_file} does not load ({error}): {remedy}") from None
    loaded.model.switch(True)
    loaded.model.eval()
    return loaded, catalog.fingerprint(run.weights_file)


def _without_foreign_encodings(state: dict[str, torch.Tensor], model: Transformer) -> dict[str, torch.Tensor]:
    """A weights file without the parameters of encodings that the model does not have."""
    own = model.state()
    return {name: tensor for name, tensor in state.items() if name.split(".")[0] not in ("encodings", "later") or name in own}
