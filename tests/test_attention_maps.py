"""The pictures of attention on the page."""

import base64
import io
from pathlib import Path

from helpers.run_folders import add_inspection, make_run
from matplotlib import image

from rpecli.report import build
from rpecli.report.attention_maps import attention_maps


def test_each_encoding_has_a_picture_per_length_from_the_training_length_on(tmp_path: Path) -> None:
    kept = {"layer": 2, "head": 3, "pattern": "distance n", "rows": {"8": ["90"], "16": ["900", "090"], "32": ["0009"]}}
    for encoding, attention_map in (("rope", kept), ("none", None)):
        path = make_run(tmp_path, {8: 1.0, 16: 1.0, 32: 0.5}, encoding=encoding)
        add_inspection(path, 0.9, attention_map=attention_map)
    (probes,) = build.report_content(sorted(tmp_path.iterdir()), "mine").probes.values()
    (maps,) = attention_maps(probes)
    assert (maps.title, maps.head, maps.pattern) == ("RoPE", "layer 2, head 3", "distance n")
    assert [(one.length, one.factor, one.width, one.height) for one in maps.images] == [(16, "1x", 6, 4), (32, "2x", 8, 2)]
    pixels = image.imread(io.BytesIO(base64.b64decode(maps.images[0].uri.partition(",")[2])))
    assert pixels.shape[:2] == (2, 3)
    darkest = pixels[..., :3].sum(-1).argmin(1)
    assert darkest.tolist() == [0, 1]


def test_what_is_drawn_of_one_run_is_held_for_the_first_run_of_its_encoding_alone(tmp_path: Path) -> None:
    kept = {"layer": 1, "head": 1, "pattern": "distance n", "rows": {"16": ["900"]}}
    for seed in (0, 1):
        path = make_run(tmp_path, {8: 1.0, 16: 1.0, 32: 0.5}, seed=seed)
        add_inspection(path, 0.9, attention_map=kept)
    (probes,) = build.report_content(sorted(tmp_path.iterdir()), "mine").probes.values()
    assert [(run["seed"], run["attention_map"]) for run in probes.runs] == [(0, kept), (1, None)]
    weights = [[list(head["by_distance"]) for head in run["lengths"][1]["layers"][-1]] for run in probes.runs]
    assert weights[0] == weights[1]  # of the last layer, whose mean over runs is drawn
    assert weights[0][0][16] == 0.9
