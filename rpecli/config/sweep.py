"""What a recipe varies beside tasks, encodings, positions and seeds: the points of `vary`.

vary:
  lr: [1e-3, 3e-3]             # every combination
  steps: 500:2000              # 500, 1000, 2000
  d_model/n_head: [64/4, 128/8]  # in pairs
"""

import itertools
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from rpecli import catalog
from rpecli.config.ranges import parse_lengths
from rpecli.config.settings import Settings, checked, list_items

PAIRED = "/"  # between keys that vary together, and between their values
OWN_LISTS = ("task", "encoding", "positions", "seed")  # keys that take lists themselves
TEXTS = ("lengths", "grid", "checkpoint_lengths", "eval_task")  # keys whose values have colons and commas themselves
Point = dict[str, Any]  # values by key
Axis = list[Point]


def parse_axis(name: str, value: Any) -> Axis:
    """The values of one key of `vary`, or of several that vary together. Raises ValueError, saying what to write instead."""
    keys = [key.strip() for key in name.split(PAIRED)]
    for key in keys:
        if key in OWN_LISTS:
            raise ValueError(f"{name}: {key} takes a list itself: write it outside vary")
        if key not in Settings.model_fields:
            raise ValueError(f"{name}: unknown key {key!r}: {catalog.nearest(key, sorted(Settings.model_fields))}")
    items = list_items(value)
    if len(keys) == 1 and keys[0] not in TEXTS:
        items = [number for item in items for number in _range(item)]
    points = checked(lambda item: _point(name, keys, item), items)
    return [point for number, point in enumerate(points) if point not in points[:number]]


def _range(item: str) -> list[str]:
    """The whole numbers of `32:128` (doubling) or `2:8:2` (adding); else the item, as `1x:4x` is."""
    return list(map(str, parse_lengths(item))) if ":" in item and "x" not in item else [item]


def _point(name: str, keys: list[str], item: str) -> Point:
    values = [value.strip() for value in item.split(PAIRED)] if len(keys) > 1 else [item]
    if len(values) != len(keys):
        raise ValueError(f"{name}: {item!r} has {len(values)} values for {len(keys)} keys: write {PAIRED.join('1' * len(keys))}")
    try:
        settings = Settings(**{key: None if value in ("null", "~") else value for key, value in zip(keys, values, strict=True)})
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{name}: {first['input']!r:.60}: {first['msg'][0].lower()}{first['msg'][1:]}") from None
    return settings.model_dump(exclude_unset=True)


def points(axes: Mapping[str, Axis]) -> list[Point]:
    """Every combination of the values of these keys; one without values where nothing varies."""
    return [{key: value for point in chosen for key, value in point.items()} for chosen in itertools.product(*axes.values())]
