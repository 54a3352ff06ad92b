"""What `rpe show` and `rpe ls` say of encodings: facts, curves, figures, and that they agree with the running code."""

import io
import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.cells import cell_len
from rich.console import Console

from rpecli import catalog, encoding
from rpecli.attention import dispatch as attention
from rpecli.choice import ChoiceError
from rpecli.describe import effect, source
from rpecli.describe import figure as portrait_figure
from rpecli.describe import listing as tables
from rpecli.describe import text as portrait_text
from rpecli.plot import FigureError

SMALL = {"d_model": 32, "n_head": 4, "length": 12}


def drawn(choice: str, **shape: int) -> dict[str, Any]:
    return effect.profile(choice, **{**SMALL, **shape}).data()


HEAD = '''"""Mine: it does something."""

import torch
from torch import nn
from rpecli.encoding import DistanceBias, Encoding

'''
LEARNING = """class Mine(Encoding):
    def __init__(self, shape):
        super().__init__(shape)
        self.a = nn.Parameter(torch.zeros(1))
"""
PRODUCT = """
    def bias(self, q_pos, k_pos):
        return (q_pos[:, :, None] * k_pos[:, None, :]).float().expand(self.shape.n_head, -1, -1)[None]
"""


def own(folder: Path, body: str, imports: str = "") -> str:
    """A file with an encoding of the user's own."""
    path = folder / "mine.py"
    path.write_text(HEAD + imports + body, encoding="utf-8")
    return str(path)


def printed(parts: list[Any], width: int = 80) -> str:
    console = Console(width=width, height=24, force_terminal=True, file=io.StringIO(), color_system=None)
    for part in parts:
        console.print(part)
    return console.file.getvalue()  # type: ignore[attr-defined]


# ------------------------------------------------------------------------------------------------------------------ drawing


def test_every_encoding_can_be_drawn_printed_and_written(encoding_name):
    data = drawn(encoding_name)
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert len(data["heads"]) == len(data["maps"]) == 4
    assert {len(each) for head in data["heads"] for each in head.values()} == {len(data["average"])} == {24}
    pictures = f"{portrait_text.curves(data)}\n{portrait_text.shades(data)}"
    assert max(map(cell_len, pictures.splitlines())) <= 80  # a screen would wrap them
    assert all(line in printed(portrait_text.terminal(data)) for line in pictures.splitlines())
    assert portrait_text.markdown(data).startswith(f"# {encoding_name}\n\n| fact | value |\n| --- | --- |\n")
    assert data["shift"]["claimed"] == (data["shift"]["change"] < portrait_text.SAME)


def test_alibis_slopes_are_read_off_its_lines():
    for n, head in enumerate(drawn("alibi")["heads"]):
        assert head["mean"] == head["low"] == head["high"] == pytest.approx([-(4.0 ** -(n + 1)) * d for d in range(24)], rel=1e-4)


def test_a_map_holds_the_score_of_each_query_and_key_and_none_where_nothing_is_seen():
    data = drawn("alibi")
    assert data["maps"][0][5][2] == -0.75
    assert data["maps"][0][2][5] is None
    assert data["average"][5][2] == pytest.approx(-3 * (1 / 4 + 1 / 16 + 1 / 64 + 1 / 256) / 4, rel=1e-4)


def test_rope_scores_the_same_content_by_the_cosines_of_the_distance():
    """Over all contents each pair has the same share, so q.k/sqrt(D) of length sqrt(D) falls to its mean cosine."""
    heads = drawn("rope", d_model=256, n_head=16)["heads"]
    found = torch.tensor([head["mean"] for head in heads]).mean(0)
    w_C = 10000 ** (-torch.arange(0, 16, 2) / 16)
    expected = 16**0.5 * ((torch.arange(24)[:, None] * w_C).cos().mean(1) - 1)
    torch.testing.assert_close(found, expected, atol=0.25, rtol=0)


def test_positions_that_are_added_score_highest_with_themselves():
    data = drawn("sinusoidal")
    means = torch.tensor([head["mean"] for head in data["heads"]]).mean(0)
    assert means.argmax() == 0
    assert means[0] == pytest.approx(0, abs=1e-4)  # a layer norm keeps the length, and heads share it out
    assert data["heads"][0]["low"] != data["heads"][0]["high"]


def test_no_encoding_changes_nothing():
    data = drawn("none")
    assert {value for head in data["heads"] for value in head["mean"]} == {0.0}
    assert (data["acts"], data["hooks"]) == ([source.NO_HOOK], [])
    assert "0 everywhere" not in data["shown"]


def test_parameters_that_start_at_0_are_told_from_an_encoding_that_does_nothing(tmp_path):
    mine = own(tmp_path, LEARNING + PRODUCT.replace("return ", "return self.a * "))
    assert "start at 0" in drawn(mine)["shown"]


def test_keys_that_an_encoding_hides_are_not_seen():
    data = drawn("window:width=3")
    assert data["heads"][0]["mean"] == [0.0] * 3 + [None] * 21
    assert [value is None for value in data["average"][10]] == [True] * 8 + [False] * 3 + [True] * 13


def test_the_average_of_a_pair_is_over_the_heads_that_see_it():
    average = drawn("hard-alibi")["average"]
    assert all(average[i][j] == 0.0 for i in range(24) for j in range(i + 1))


def test_lines_and_maps_go_to_twice_the_trained_length():
    data = drawn("t5", length=9)
    assert (data["shape"]["trained"], data["shape"]["drawn"], len(data["maps"][3])) == (9, 18, 18)


def test_the_same_seed_is_the_same_portrait_and_another_is_not():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = drawn("t5")
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    assert drawn("t5") == first
    assert drawn("t5", seed=1)["maps"] != first["maps"]


# ------------------------------------------------------------------------------------------------------------------- facts


def test_parameters_are_counted_for_a_layer_and_for_all():
    assert drawn("rope")["parameters"] == {"layer": 0, "shared": 0}
    assert drawn("t5")["parameters"] == {"layer": 0, "shared": 32 * 4}
    assert drawn("transformer-xl")["parameters"] == {"layer": 32 * 32, "shared": 2 * 32}
    assert drawn("shaw")["parameters"] == {"layer": 17 * 8, "shared": 0}


def test_shift_invariance_is_measured_not_believed(tmp_path):
    mine = own(tmp_path, f"class Mine(Encoding):{PRODUCT}")
    data = drawn(mine)
    assert data["shift"]["claimed"] is True
    assert data["shift"]["change"] == 37 * (11 + 11) + 37 * 37
    assert "not what it claims" in portrait_text.markdown(data)


def test_parameters_are_moved_before_the_shift_is_measured(tmp_path):
    mine = own(tmp_path, LEARNING + PRODUCT.replace("return ", "return self.a * "))
    assert drawn(mine)["shift"]["change"] > 1


def test_options_show_the_value_in_force_beside_the_default():
    data = drawn("rope:base=500")
    assert data["options"]["base"] == {"value": "500", "default": 10000.0}
    text = portrait_text.markdown(data)
    assert "base=500 (default 10000.0)" in text
    assert "pairing=interleaved," in text


def test_widened_queries_are_said():
    assert drawn("transformer-xl")["channels"] == {"model": 8, "compared": 8 + 32}
    assert "8 a head, 40 as compared" in portrait_text.markdown(drawn("transformer-xl"))


def test_an_option_that_brings_a_hook_changes_kernel_and_where_it_acts():
    data = drawn("kerple-power:weighted=true")
    assert (data["kernel"], data["hooks"]) == ("eager", ["by_distance", "score"])
    assert drawn("kerple-power")["hooks"] == ["by_distance"]


@pytest.mark.parametrize(
    ("choice", "shape", "words"),
    [("rope+none", {}, "one by one"), ("roop", {}, "did you mean rope"), ("rope", {"n_head": 5}, "multiple of n_head"),
     ("rope", {"length": 1}, "length at least 2"), ("rope:bas=3", {}, "no option 'bas'")],
)  # fmt: skip
def test_what_cannot_be_drawn_says_why(choice, shape, words):
    with pytest.raises(ChoiceError, match=re.escape(words)):
        drawn(choice, **shape)


# ------------------------------------------------------------------------------------------------- read without importing


def test_what_is_read_from_the_file_is_what_the_running_encoding_has(encoding_name):
    found, made = source.read(encoding_name), encoding.build(encoding_name, d_model=32, n_head=4)
    assert found.kernel == attention.kernel(made)
    assert (found.learns == "yes") == any(True for _ in made.parameters())
    for fact in ("group", "extrapolation", "shift_invariant", "causal_only"):
        assert getattr(found, fact) == getattr(made, fact), fact
    for hook in ("embed", "features", "rotate", "bias", "score"):
        read = hook in found.hooks or (hook == "bias" and "by_distance" in found.hooks)
        read |= hook == "score" and "query_weights" in found.hooks and "rotate" not in found.hooks
        assert read == encoding.overrides(made, hook), hook
    assert list(found.options) == list(effect.profile(encoding_name, **SMALL).options)


def test_bases_in_other_files_are_read_too(tmp_path):
    mine = own(tmp_path, "class Mine(base.RoPE):\n    extrapolation = 'mine'\n", "from rpecli.encodings import rope as base\n")
    found = source.read(mine)
    assert (found.hooks, found.extrapolation, found.shared, found.learns) == (["rotate"], "mine", True, "no")
    assert "base" in found.options


@pytest.mark.parametrize(
    ("line", "learns"),
    [("nn.Parameter(torch.ones(1))", "yes"), ("nn.Parameter(torch.ones(1)) if shape.causal else None", "option"), ("1", "no")],
)
def test_parameters_under_a_condition_are_an_option(tmp_path, line, learns):
    mine = own(
        tmp_path,
        f"class Mine(Encoding):\n    def __init__(self, shape):\n        super().__init__(shape)\n        self.a = {line}",
    )
    assert source.read(mine).learns == learns


def test_parameters_of_another_file_count(tmp_path):
    mine = own(tmp_path, "class Mine(Encoding):\n    pass")
    Path(mine).write_text(
        Path(mine).read_text().replace("import torch\n", "import torch\nfrom rpecli.encodings.fire import FIRE\n")
    )
    assert source.read(mine).learns == "yes"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("A, or B: a title, 2019, arXiv 1910.10683", ("A, or B: a title", "2019", "arXiv 1910.10683")),
        ("A title, 2020", ("A title", "2020", "")),
        ("A, 2026 (no paper)", ("A", "2026", "(no paper)")),
        ("code alone (no paper)", ("code alone (no paper)", "", "")),
        ("", ("", "", "")),
    ],
)
def test_a_paper_is_taken_apart(text, parts):
    assert tuple(source.split_paper(text).values()) == parts


# ----------------------------------------------------------------------------------------------------------------- listing


def test_the_listing_fits_80_columns_and_a_pipe_gets_all_of_it():
    rows = tables.rows("encodings")
    lines = printed([tables.table(rows)]).splitlines()
    assert max(map(len, lines)) <= 80
    for name in catalog.names("encodings"):
        assert any(line.startswith(f"{name} ") for line in lines), name
    head, _, *body = tables.table(rows).markdown().splitlines()
    assert [cell.strip() for cell in head.strip("|").split("|")] == list(rows[0])
    assert len(body) == len(rows)


def test_a_wide_screen_shows_the_whole_listing():
    rows = tables.rows("encodings")
    assert "arXiv 2108.12409" in printed([tables.table(rows)], width=500)
    assert "arXiv" not in printed([tables.table(rows)], width=80)


def test_brackets_in_a_listing_are_text_not_markup():
    assert "[b] [/x]" in printed([tables.table([{"key": "[b] [/x]"}])])


def test_every_encoding_of_a_paper_tells_its_year():
    for row in tables.rows("encodings"):
        assert re.fullmatch(r"\d{4}", row["year"]) or "arXiv" not in row["paper"], row["encoding"]


# ---------------------------------------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize(("kind", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_figures_are_written_and_have_the_same_bytes_each_time(tmp_path, kind, start):
    data = drawn("hard-alibi")
    path = tmp_path / "new" / f"figure.{kind}"
    portrait_figure.write(data, path)
    assert path.read_bytes().startswith(start)
    assert portrait_figure.draw(data, kind) == path.read_bytes()
    assert b"Date" not in path.read_bytes()


def test_many_heads_are_drawn_and_what_is_left_out_is_said(tmp_path):
    data = drawn("alibi", d_model=32, n_head=16)
    assert portrait_figure.draw(data, "png").startswith(b"\x89PNG")
    assert len(portrait_figure._maps(data)) == portrait_figure.MAPS == 10
    assert "Maps left out: 7" in portrait_figure._note(data)
    assert "and 8 more heads" in portrait_text.curves(data)
    assert "left out" not in portrait_figure._note(drawn("alibi", d_model=8, n_head=1))


def test_a_figure_of_an_unknown_kind_is_refused_and_says_the_kinds(tmp_path):
    with pytest.raises(FigureError, match=r"\.svg, \.png or \.pdf"):
        portrait_figure.write({}, tmp_path / "figure.gif")


def test_the_curve_in_dots_falls_from_the_upper_left_to_the_lower_right():
    rows = portrait_text._braille([float(-d) for d in range(24)], -23.0, 0.0)
    filled = [[n for n, cell in enumerate(row) if cell != "⠀"] for row in rows]
    assert filled[0][0] == 0
    assert filled[-1][-1] == portrait_text.PLOT - 1
    assert all(above[-1] <= below[-1] for above, below in pairwise(filled))


def test_the_shades_are_darkest_near_the_diagonal_for_a_recency_bias():
    rows = [line.partition("│")[2][:32].rstrip() for line in portrait_text.shades(drawn("alibi")).splitlines()[:16]]
    assert [len(row) for row in rows] == sorted(len(row) for row in rows)
    assert rows[-1][0] == "·"
    assert rows[-1][-1] == rows[0][0] == "█"


def test_filled_lines_of_a_docstring_run_on_and_formulas_stay():
    about = f"a = b{' ' * 60}(paper, equation 3)\n{'word ' * 21}\nend.\n\nshort\nlines"
    assert portrait_text.flow(about) == f"a = b  (paper, equation 3)\n{'word ' * 21} end.\n\nshort\nlines"
