"""The id of a run: what changes it, what does not, and that it is a safe directory name."""

import re
from pathlib import Path
from typing import Any

import pytest
from helpers.recipes import config, load_text

from rpecli import catalog
from rpecli.config import recipe
from rpecli.config.recipe import Config, EvalSettings


def test_the_id_of_a_known_config_never_changes() -> None:
    """Pinned: another value would orphan every run trained before. When the training itself changes, FORMAT goes up."""
    keys = {"length": 16, "min_length": 1, "steps": 1000, "curriculum": 0.0, "tokens": 1024, "lr": 6e-3, "warmup": 100}
    keys |= {"lr_end": 0.05, "weight_decay": 0.0, "beta1": 0.9, "beta2": 0.98, "clip": 1.0, "d_model": 64, "n_layer": 2}
    keys |= {"n_head": 4, "mlp_ratio": 4, "dtype": "float32", "data_seed": None, "validate_every": 50, "stop_at": None}
    assert config(seed=1, **keys).id == "copy-rope-s1-59f9d208"


CHANGED: dict[str, Any] = {"task": "sort", "encoding": "alibi", "positions": "offset", "seed": 5, "length": 17, "min_length": 2}
CHANGED |= {"steps": 9, "curriculum": 0.5, "tokens": 7, "lr": 0.5, "warmup": 3, "lr_end": 0.5, "weight_decay": 0.5, "beta1": 0.5}
CHANGED |= {"beta2": 0.5, "clip": 0.5, "d_model": 32, "n_layer": 3, "n_head": 2, "mlp_ratio": 2, "dtype": "bfloat16"}
CHANGED |= {"data_seed": 3, "validate_every": 7, "stop_at": 0.5, "attention": "bidirectional", "normalizer": "stick-breaking"}
CHANGED |= {"logit_scale": "logn", "threads": 2, "loops": 2}
DEPENDENT = {"max_position", "positions_per", "switch_fraction", "logit_scale_on", "logit_scale_in"}  # on another key
CHANGED |= {"batch": 5, "batch_lengths": "mixed", "schedule": "linear", "decayed": "matrices", "position_penalty": 0.1}
CHANGED |= {"validation_lengths": "all", "validation_samples": 5, "block": "gpt2", "dropout": 0.1, "qk_norm": "plain"}
CHANGED |= {"canon": "A", "token_shift": "k", "init": "torch", "checkpoint_lengths": "8"}
EVALUATION = {"lengths": "16", "samples": 3, "eval_tokens": 99, "eval_seed": 4, "eval_positions": "start"}
EVALUATION |= {"eval_task": "copy:symbols=8", "grid": "2:8", "eval_loops": 3}


def test_every_key_of_training_changes_the_id() -> None:
    assert CHANGED.keys() | DEPENDENT == set(Config.model_fields) - {"eval"}
    assert EVALUATION.keys() == set(EvalSettings.model_fields)
    ids = [config().id, *(config(**{key: value}).id for key, value in CHANGED.items())]
    assert len(set(ids)) == len(ids)
    assert len({name[-8:] for name in ids}) == len(ids)


def test_the_evaluation_does_not_change_the_id() -> None:
    assert config(**EVALUATION).id == config().id


def test_max_position_counts_only_for_random_positions() -> None:
    assert config(max_position=64).id == config().id
    ids = {config(positions=p, max_position=n).id for p in ("offset", "randomized") for n in (64, 128)}
    assert len(ids) == 4


def test_keys_that_depend_on_another_count_only_with_it() -> None:
    switched = {"encoding": "rope:then=none"}
    assert config(switch_fraction=0.5).id == config().id
    assert len({config().id, config(**switched).id, config(**switched, switch_fraction=0.5).id}) == 3
    assert config(positions_per="layer").id == config().id
    scaled = [{"logit_scale_on": "unrotated"}, {"logit_scale_in": "evaluation"}]
    assert {config(**keys).id for keys in scaled} == {config().id}
    assert len({config(logit_scale="logn", **keys).id for keys in ({}, *scaled)}) == 3
    assert config(positions="randomized", positions_per="layer").id != config(positions="randomized").id


def test_a_key_at_its_default_does_not_count_so_that_new_keys_orphan_no_run() -> None:
    assert config(lr=Config.model_fields["lr"].default).id == config().id


@pytest.mark.parametrize(
    ("text", "equivalent"),
    [
        ("lr: 1e-3", "lr: 0.001"),
        ("lr: 1", "lr: 1.0"),
        ("steps: 20", "steps: 20.0"),
        ("seed: 3", "seed: 3:4"),
        ("task: sort:distinct=true:symbols=9", "task: ['sort: symbols = 9 : distinct=true']"),
        ("encoding: transformer-xl", "encoding: transformer_xl"),
        ("data_seed: null", ""),
        ("lengths: 16", "lengths: 32"),
    ],
)
def test_equivalent_spellings_are_one_run(text: str, equivalent: str, tmp_path: Path) -> None:
    assert [c.id for c in load_text(text, tmp_path).configs()] == [c.id for c in load_text(equivalent, tmp_path).configs()]


def test_a_file_of_the_users_own_counts_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "my enc.py"
    path.write_text("x = 1")
    before = config(encoding=f"{path}:base=2").id
    assert before.startswith("copy-my-enc-base-2-s0-")
    monkeypatch.chdir(tmp_path)
    assert config(encoding="./my enc.py:base=2").id == before
    assert config(encoding=f"{path}:base=3").id != before
    path.write_text("x = 2")
    assert config(encoding=f"{path}:base=2").id != before
    path.write_text("x = 1")
    assert config(encoding=f"{path}:base=2").id == before


def test_a_users_file_is_not_the_shipped_one_of_its_name(tmp_path: Path) -> None:
    path = tmp_path / "rope.py"
    path.write_bytes(catalog.find("encodings", "rope").read_bytes())
    assert config(encoding=str(path)).id != config().id


@pytest.mark.parametrize("stem", ["a b", "naïve", "..x", ".hidden", "-rf", "CON", "a&b;c$(d)'\"*?", "x" * 200, "日本"])
def test_ids_are_safe_as_directory_names(stem: str, tmp_path: Path) -> None:
    path = tmp_path / f"{stem}.py"
    path.write_text("")
    for name in (config(task=str(path)).id, config(encoding=f"{path}:a=../../b:c=d e").id):
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*-s0-[0-9a-f]{8}", name)
        assert len(name) < 150
        (tmp_path / name).mkdir()


def test_similar_choices_have_different_ids() -> None:
    choices = ["x:a=1", "x:a-1=1", "x:a=-1", "x:a=+1", "x:a= 1_", "x:a=1:a-1=1"]
    ids = [config(encoding=choice).id for choice in choices]
    assert len(set(ids)) == len(choices)


def test_a_label_is_the_name_tables_show() -> None:
    assert recipe.label("sort:distinct=true") == "sort:distinct=true"
    assert recipe.label("/some where/my_enc.py:base=2") == "my-enc:base=2"
    assert recipe.label("rope") == "rope"
