"""What `rpe show` and `rpe ls` say about encodings: facts, curves and figures, and that they agree with the running code."""

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

from rpecli import catalog, encoding, encoding_facts
from rpecli.attention import dispatch as attention
from rpecli.choice import ChoiceError
from rpecli.describe import effect, figure, listing, text
from rpecli.plot import FigureError

SMALL = {"d_model": 32, "n_head": 4, "length": 12}


def profile_of(choice: str, **shape: int) -> effect.EncodingProfile:
    return effect.profile(choice, **{**SMALL, **shape})


HEADER = '''"""Mine: it does something."""

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


def own_file(folder: Path, body: str, imports: str = "") -> str:
    """A file with an encoding of the user's own; its path."""
    path = folder / "mine.py"
    path.write_text(HEADER + imports + body, encoding="utf-8")
    return str(path)


def printed(parts: list[Any], width: int = 80) -> str:
    """What a terminal of this width shows."""
    console = Console(width=width, height=24, force_terminal=True, file=io.StringIO(), color_system=None)
    for part in parts:
        console.print(part)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_every_encoding_has_a_profile_as_json_text_and_markdown(encoding_name):
    profile = profile_of(encoding_name)
    assert json.loads(json.dumps(profile.as_dict(), allow_nan=False)) == profile.as_dict()
    assert len(profile.heads) == len(profile.maps) == 4
    assert {len(values) for head in profile.heads for values in head.values()} == {len(profile.average)} == {24}
    pictures = f"{text.curves(profile)}\n{text.shades(profile)}"
    assert max(map(cell_len, pictures.splitlines())) <= 80  # a terminal would wrap them
    assert all(line in printed(text.terminal(profile)) for line in pictures.splitlines())
    assert text.markdown(profile).startswith(f"# {encoding_name}\n\n| fact | value |\n| --- | --- |\n")
    assert profile.shift["claimed"] == (profile.shift["change"] < text.ROUNDING)


def test_alibis_slopes_are_those_of_its_curves():
    for n, head in enumerate(profile_of("alibi").heads):
        slope = -(4.0 ** -(n + 1))
        assert head["mean"] == head["low"] == head["high"] == pytest.approx([slope * d for d in range(24)], rel=1e-4)


def test_a_map_has_the_score_of_every_query_and_key_and_none_for_masked_pairs():
    alibi = profile_of("alibi")
    assert alibi.maps[0][5][2] == -0.75
    assert alibi.maps[0][2][5] is None
    assert alibi.average[5][2] == pytest.approx(-3 * (1 / 4 + 1 / 16 + 1 / 64 + 1 / 256) / 4, rel=1e-4)


def test_rope_scores_the_same_content_by_the_cosines_of_the_distance():
    """Over all contents every pair has the same share, so q.k/sqrt(D) with |q|^2 = D falls to its mean cosine."""
    heads = profile_of("rope", d_model=256, n_head=16).heads
    mean_T = torch.tensor([head["mean"] for head in heads]).mean(0)
    w_C = 10000 ** (-torch.arange(0, 16, 2) / 16)
    expected_T = 16**0.5 * ((torch.arange(24)[:, None] * w_C).cos().mean(1) - 1)
    torch.testing.assert_close(mean_T, expected_T, atol=0.25, rtol=0)


def test_absolute_positions_score_highest_with_themselves():
    sinusoidal = profile_of("sinusoidal")
    mean_T = torch.tensor([head["mean"] for head in sinusoidal.heads]).mean(0)
    assert mean_T.argmax() == 0
    assert mean_T[0] == pytest.approx(0, abs=1e-4)  # a layer norm keeps the length, and heads share it out
    assert sinusoidal.heads[0]["low"] != sinusoidal.heads[0]["high"]


def test_no_encoding_has_no_effect():
    none = profile_of("none")
    assert {value for head in none.heads for value in head["mean"]} == {0.0}
    assert (none.acts_on, none.hooks) == ([encoding_facts.NO_HOOK], [])
    assert "start at 0" not in none.caption


def test_parameters_that_start_at_0_are_distinguished_from_an_encoding_without_effect(tmp_path):
    mine = own_file(tmp_path, LEARNING + PRODUCT.replace("return ", "return self.a * "))
    assert "start at 0" in profile_of(mine).caption


def test_keys_that_an_encoding_masks_have_no_value():
    window = profile_of("window:width=3")
    assert window.heads[0]["mean"] == [0.0] * 3 + [None] * 21
    assert [value is None for value in window.average[10]] == [True] * 8 + [False] * 3 + [True] * 13


def test_the_average_of_a_pair_is_over_the_heads_that_see_it():
    average = profile_of("hard-alibi").average
    assert all(average[i][j] == 0.0 for i in range(24) for j in range(i + 1))


def test_curves_and_maps_reach_twice_the_training_length():
    t5 = profile_of("t5", length=9)
    assert (t5.shape["train_length"], t5.shape["n_positions"], len(t5.maps[3])) == (9, 18, 18)


def test_a_profile_depends_on_its_seed_alone():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = profile_of("t5")
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    assert profile_of("t5") == first
    assert profile_of("t5", seed=1).maps != first.maps


def test_parameters_are_counted_per_layer_and_for_all_layers():
    assert profile_of("rope").parameters == {"layer": 0, "shared": 0}
    assert profile_of("t5").parameters == {"layer": 0, "shared": 32 * 4}
    assert profile_of("transformer-xl").parameters == {"layer": 32 * 32, "shared": 2 * 32}
    assert profile_of("shaw").parameters == {"layer": 17 * 8, "shared": 0}


def test_shift_invariance_is_measured_and_contradicts_a_wrong_claim(tmp_path):
    mine = profile_of(own_file(tmp_path, f"class Mine(Encoding):{PRODUCT}"))
    assert mine.shift["claimed"] is True
    assert mine.shift["change"] == 37 * (11 + 11) + 37 * 37
    assert "contradicts the claim" in text.markdown(mine)


def test_shift_invariance_is_measured_with_noise_on_parameters_that_start_at_0(tmp_path):
    mine = own_file(tmp_path, LEARNING + PRODUCT.replace("return ", "return self.a * "))
    assert profile_of(mine).shift["change"] > 1


def facts(profile: effect.EncodingProfile) -> dict[str, str]:
    return dict(text.facts_table(profile).rows)


def test_options_show_their_value_and_the_default_where_it_differs():
    rope = profile_of("rope:base=500")
    assert rope.options["base"] == {"value": "500", "default": 10000.0}
    assert "base=500 (default 10000.0)" in facts(rope)["options"]
    assert "pairing=interleaved," in facts(rope)["options"]


def test_wider_queries_are_shown():
    assert profile_of("transformer-xl").channels == {"model": 8, "compared": 8 + 32}
    assert facts(profile_of("transformer-xl"))["channels"] == "8 per head, 40 as compared"


def test_an_option_that_adds_a_hook_changes_the_kernel_and_the_hooks():
    weighted = profile_of("kerple-power:weighted=true")
    assert (weighted.kernel, weighted.hooks) == ("eager", ["by_distance", "score"])
    assert profile_of("kerple-power").hooks == ["by_distance"]


@pytest.mark.parametrize(
    ("choice", "shape", "words"),
    [("rope+none", {}, "one by one"), ("roop", {}, "did you mean rope"), ("rope", {"n_head": 5}, "multiple of n_head"),
     ("rope", {"length": 1}, "length at least 2"), ("rope:bas=3", {}, "no option 'bas'")],
)  # fmt: skip
def test_an_impossible_profile_is_an_error_with_a_remedy(choice, shape, words):
    with pytest.raises(ChoiceError, match=re.escape(words)):
        profile_of(choice, **shape)


def test_the_facts_of_a_file_are_those_of_the_running_encoding(encoding_name):
    read, module = encoding_facts.read(encoding_name), encoding.build(encoding_name, d_model=32, n_head=4)
    assert read.kernel == attention.kernel(module)
    assert (read.learns == "yes") == any(True for _ in module.parameters())
    for fact in ("group", "extrapolation", "shift_invariant", "causal_only"):
        assert getattr(read, fact) == getattr(module, fact), fact
    for hook in ("embed", "features", "rotate", "bias", "score"):
        in_file = hook in read.hooks or (hook == "bias" and "by_distance" in read.hooks)
        in_file |= hook == "score" and "query_weights" in read.hooks and "rotate" not in read.hooks
        own = getattr(type(module), hook) is not getattr(encoding.Encoding, hook)
        assert in_file == (own if encoding_name == "bipe" else encoding.overrides(module, hook)), hook  # bipe stands over rope
    assert list(read.options) == list(profile_of(encoding_name).options)


def test_base_classes_in_other_files_are_read_too(tmp_path):
    path = own_file(
        tmp_path, "class Mine(base.RoPE):\n    extrapolation = 'mine'\n", "from rpecli.encodings import rope as base\n"
    )
    mine = encoding_facts.read(path)
    assert (mine.hooks, mine.extrapolation, mine.shared, mine.learns) == (["rotate"], "mine", True, "option")
    assert "base" in mine.options


@pytest.mark.parametrize(
    ("line", "learns"),
    [("nn.Parameter(torch.ones(1))", "yes"), ("nn.Parameter(torch.ones(1)) if shape.causal else None", "option"), ("1", "no")],
)
def test_parameters_under_a_condition_are_an_option(tmp_path, line, learns):
    body = f"class Mine(Encoding):\n    def __init__(self, shape):\n        super().__init__(shape)\n        self.a = {line}"
    assert encoding_facts.read(own_file(tmp_path, body)).learns == learns


def test_parameters_of_an_imported_class_count(tmp_path):
    mine = own_file(tmp_path, "class Mine(Encoding):\n    pass", "from rpecli.encodings.fire import FIRE\n")
    assert encoding_facts.read(mine).learns == "yes"


@pytest.mark.parametrize(
    ("paper", "parts"),
    [
        ("A, or B: a title, 2019, arXiv 1910.10683", ("A, or B: a title", "2019", "arXiv 1910.10683")),
        ("A title, 2020", ("A title", "2020", "")),
        ("A, 2026 (no paper)", ("A", "2026", "(no paper)")),
        ("code alone (no paper)", ("code alone (no paper)", "", "")),
        ("", ("", "", "")),
    ],
)
def test_a_paper_is_split_into_title_year_and_source(paper, parts):
    split = encoding_facts.split_paper(paper)
    assert (split["title"], split["year"], split["source"]) == parts


def test_the_listing_fits_80_columns_and_a_pipe_gets_all_columns():
    rows = listing.rows("encodings")
    lines = printed([listing.table(rows)]).splitlines()
    assert max(map(len, lines)) <= 80
    for name in catalog.names("encodings"):
        assert any(line.startswith(f"{name} ") for line in lines), name
    header, _, *body = [line for line in listing.table(rows).markdown().splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in header.strip("|").split("|")] == list(rows[0])
    assert len(body) == len(rows)


def test_brackets_in_a_listing_are_not_markup():
    assert "[b] [/x]" in printed([listing.table([{"key": "[b] [/x]"}])])


def test_a_wide_terminal_shows_all_columns():
    table = listing.table(listing.rows("encodings"))
    assert "arXiv 2108.12409" in printed([table], width=500)
    assert "arXiv" not in printed([table], width=80)


def test_every_encoding_with_a_paper_has_its_year():
    for row in listing.rows("encodings"):
        assert re.fullmatch(r"\d{4}", row["year"]) or "arXiv" not in row["paper"], row["encoding"]


@pytest.mark.parametrize(("kind", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_a_figure_has_the_same_bytes_each_time(tmp_path, kind, start):
    profile = profile_of("hard-alibi")
    path = tmp_path / "new" / f"figure.{kind}"
    figure.write(profile, path)
    assert path.read_bytes().startswith(start)
    assert figure.draw(profile, kind) == path.read_bytes()
    assert b"Date" not in path.read_bytes()


def test_a_figure_of_many_heads_has_at_most_ten_maps_and_counts_the_others():
    many = profile_of("alibi", d_model=32, n_head=16)
    assert figure.draw(many, "png").startswith(b"\x89PNG")
    assert len(figure.titled_maps(many)) == figure.MAX_MAPS == 10
    assert "Maps not shown: 7" in figure.note(many)
    assert "and 8 more heads" in text.curves(many)
    assert "not shown" not in figure.note(profile_of("alibi", d_model=8, n_head=1))


def test_a_figure_of_an_unknown_kind_is_an_error_that_lists_the_kinds(tmp_path):
    with pytest.raises(FigureError, match=r"\.svg, \.png or \.pdf"):
        figure.write(profile_of("none"), tmp_path / "figure.gif")


def test_a_falling_curve_in_dots_runs_from_the_upper_left_to_the_lower_right():
    rows = text.braille([float(-d) for d in range(24)], -23.0, 0.0)
    filled = [[n for n, cell in enumerate(row) if cell != "⠀"] for row in rows]
    assert filled[0][0] == 0
    assert filled[-1][-1] == text.PLOT_WIDTH - 1
    assert all(above[-1] <= below[-1] for above, below in pairwise(filled))


def test_the_shades_are_darkest_near_the_diagonal_for_a_recency_bias():
    rows = [line.partition("│")[2][:32].rstrip() for line in text.shades(profile_of("alibi")).splitlines()[:16]]
    assert [len(row) for row in rows] == sorted(len(row) for row in rows)
    assert rows[-1][0] == "·"
    assert rows[-1][-1] == rows[0][0] == "█"


def test_full_lines_of_a_docstring_are_joined_and_formulas_stay_lines():
    about = f"a = b{' ' * 60}(paper, equation 3)\n{'word ' * 21}\nend.\n\nshort\nlines"
    assert text.flow(about) == f"a = b  (paper, equation 3)\n{'word ' * 21} end.\n\nshort\nlines"


def test_a_paragraph_that_ends_with_a_full_line_stays_a_paragraph():
    assert text.flow(f"{'word' * 26}\n\nnext") == f"{'word' * 26}\n\nnext"


@pytest.mark.parametrize("name", catalog.names("encodings"))
def test_no_code_is_broken_between_two_lines_of_a_docstring(name: str):
    source = catalog.find("encodings", name).read_text()
    lines = source.split('"""')[1].splitlines()
    assert [line for line in lines if line.count("`") % 2] == []


def test_a_list_of_recipes_names_the_first_of_many_and_says_what_to_type():
    tasks = ", ".join(f"t{n}" for n in range(99))
    row = {
        "recipe": "mine",
        "what it shows": "much",
        "task": tasks,
        "encoding": "a, b",
        "seed": "0",
        "lengths": "1x",
        "runs": "198",
    }
    full = listing.table([row])
    assert full.rows[0][2:4] == ["t0, t1, t2, t3 and 95 more", "a, b"]
    assert full.narrow is not None
    assert full.narrow.rows == [["mine", "much", "198"]]
    assert "rpe run NAME --dry-run" in full.caption
