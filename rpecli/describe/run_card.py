"""The card of an exported run, in Markdown as model hubs show it: what it is, how well it does, how to load it."""

from typing import Any

from rpecli.escape import Markdown, fenced, markdown
from rpecli.run.directory import Run, chosen_weights
from rpecli.run.records import EvalLine
from rpecli.run.ways import evaluations_by_way
from rpecli.table import MISSING, Table, multiple, plural
from rpecli.titles import display, display_trained

FILE = "README.md"
FRONT_MATTER = "---\nlibrary_name: rpe\ntags:\n  - positional-encoding\n  - length-generalization\n---"
LOADED = 'from safetensors.torch import load_file\n\nweights = load_file("weights.safetensors")  # tensors by name'
MEASURES = {"accuracy": "exact match [95 % interval]", "perplexity": "nats per token"}
FILES = {
    "weights.safetensors": "the trained weights",
    "recipe.yaml": "the recipe: `rpe train recipe.yaml` trains this run again",
    "run.json": "the record: versions, commit, machine, time",
    "metrics.jsonl": "one line per validation during training",
    "eval.jsonl": "one line per evaluated length",
    "probes.jsonl": "attention and shifts, where they were measured",
    "code/": "the encodings and tasks of the author's own, if there are any",
}


def card(run: Run) -> str:
    """The text of the card. Raises RunError where a record of the run is damaged."""
    record, config = run.record, run.config
    task, encoding = display("tasks", record["task"]), display_trained(record["encoding"], record["positions"])
    layers = plural(config.n_layer, "layer") + (f" passed {config.loops} times" if config.loops > 1 else "")
    described = (
        f"A transformer with {record.get('parameters', 0):,} parameters ({layers}, "
        f"{plural(config.n_head, 'head')}, width {config.d_model}), trained with rpe on the task {task} at lengths "
        f"{config.min_length} to {config.length}, with the positional encoding {encoding} and seed {config.seed}."
    )
    measure, ways = record.get("measure", "accuracy"), evaluations_by_way(run)
    results = [_results(way, list(lines.values()), config.length, measure).markdown() for way, lines in ways.items()]
    parts = [
        FRONT_MATTER,
        f"# {markdown(f'{task}, {encoding}, seed {config.seed}')}",
        markdown(described),
        *(results or [Markdown("This run was not evaluated.")]),
        "## Use",
        "The weights load with safetensors alone:",
        fenced(LOADED, "python"),
        "rpe evaluates the model as it is, or takes it up among other runs:",
        fenced("rpe eval FOLDER --lengths 1x:8x\nrpe import FOLDER", "sh"),
        *_own_code(record, config),
        "## Training",
        _training(record).markdown(),
        "## Files",
        _files(run).markdown(),
    ]
    return "\n\n".join(parts) + "\n"


def _files(run: Run) -> Table:
    rows = [[f"`{name}`", what] for name, what in FILES.items() if (run.path / name).exists()]
    return Table("", ["file", "what it holds"], "ll", rows)


def _results(way: str, lines: list[EvalLine], trained: int, measure: str) -> Table:
    """One row per length that was evaluated in one way, with what the task is measured by."""
    columns = ["length", "of the training length", "token accuracy", MEASURES[measure]]
    rows = []
    for line in lines:
        low, high = line["interval"]
        exact = f"{line['exact_match']:.3f} [{low:.3f}, {high:.3f}]"
        last = exact if measure == "accuracy" else f"{line['nll']:.3f}" if line["nll"] is not None else MISSING
        rows.append([str(line["length"]), multiple(line["length"] / trained), f"{line['token_accuracy']:.3f}", last])
    return Table(f"Results{way}", columns, "rrrr", rows, caption="Evaluated with teacher forcing; eval.jsonl has more.")


def _training(record: dict[str, Any]) -> Table:
    versions = record.get("versions", {})
    dirty = " with local changes" if record.get("dirty") else ""
    facts = {
        "steps": f"{record.get('step', 0):,}",
        **({"weights": chosen_weights(record)} if "checkpoint" in record else {}),
        "tokens": f"{record.get('tokens', 0):,}",
        "seconds": f"{record.get('seconds', 0):.0f}",
        "device": record.get("device", ""),
        "machine": record.get("machine", ""),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items() if version),
        "commit of rpe": f"{record['commit']}{dirty}" if record.get("commit") else "unknown",
        "finished": record.get("finished", ""),
    }
    return Table("", ["fact", "value"], "ll", [[name, str(value)] for name, value in facts.items()])


def _own_code(record: dict[str, Any], config: Any) -> list[Markdown]:
    from rpecli.choice import paths_in

    notes = []
    if paths_in(config.task) or paths_in(config.encoding):
        notes.append(Markdown("The model uses code in `code/`. Read it, then add `--trust-code` to the command."))
    if record.get("data"):
        paths = ", ".join(map(markdown, record["data"]))
        notes.append(Markdown(f"The task reads data that is not here: {paths}. Evaluation needs it at the same place."))
    return notes
