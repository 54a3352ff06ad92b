"""One sentence per encoding on what `rpe inspect` measured, on made-up heads."""

from rpecli.report.attention_sentences import attention_sentences, shift_sentences


def head(pattern, share, growth=1, family="distance", layer=1):
    return {"layer": layer, "head": 1, "pattern": pattern, "family": family, "growth": growth, "offset": 0,
            "share": {str(length): value for length, value in share.items()}}  # fmt: skip


def run(title, heads, seed=0, task="copy", trained=16):
    return {"run": f"{task}-{title}-s{seed}-{trained}", "encoding_override": None, "task": task, "title": title,
            "train_length": trained, "patterned_heads": heads}  # fmt: skip


def test_the_strongest_head_that_reaches_back_with_the_length_is_told_at_and_beyond_the_training_length():
    heads = [head("distance n", {8: 1.0, 16: 0.96, 64: 0.06}), head("distance n", {8: 1, 16: 0.7, 64: 0.7}),
             head("distance 1", {8: 1, 16: 0.99, 64: 0.99}, growth=0)]  # fmt: skip
    assert attention_sentences([run("RoPE", heads)]) == [
        "Copy, RoPE: the strongest head attends n back: 96 % at 1x, 6 % at 4x of its attention."
    ]


def test_seeds_with_the_same_pattern_are_averaged_and_the_others_counted():
    runs = [run("RoPE", [head("distance n", {16: value, 32: value / 2})], seed) for seed, value in enumerate((1.0, 0.8))]
    runs += [run("RoPE", [], 2), run("ALiBi", [head("place 0", {16: 0.6, 32: 0.5}, growth=0, family="place")])]
    assert attention_sentences(runs) == [
        "Copy, RoPE: the strongest head attends n back (2 of 3 runs): 90 % at 1x, 45 % at 2x of its attention.",
        "Copy, ALiBi: the strongest head attends to place 0: 60 % at 1x, 50 % at 2x of its attention.",
    ]


def test_an_encoding_without_a_pattern_says_so():
    assert attention_sentences([run("NoPE", [], task="sort")]) == [
        "Sort, NoPE: no head gives half of its attention to one position."
    ]


def test_a_shift_is_told_at_its_farthest_as_the_predictions_that_are_kept():
    runs = [run("RoPE", []), run("RoPE", [], 1)]
    lines = {
        one["run"]: [{"probe": "positions", "shift": 4, "changed": 0.9}, {"probe": "positions", "shift": 64, "changed": changed},
                     {"probe": "prefix", "shift": 64, "changed": 0.4}]
        for one, changed in zip(runs, (0.0, 0.04), strict=True)
    }  # fmt: skip
    assert shift_sentences(lines, runs) == [
        "Copy, RoPE: predictions kept: 98 % when all positions move by 64, 60 % behind a prefix of 64."
    ]


def test_runs_of_two_training_lengths_are_told_apart():
    runs = [
        run("RoPE", [head("distance n", {16: 1.0, 32: 0.5})]),
        run("RoPE", [head("distance n", {32: 1.0, 64: 0.2})], trained=32),
    ]
    assert attention_sentences(runs) == [
        "Copy, trained to 16, RoPE: the strongest head attends n back: 100 % at 1x, 50 % at 2x of its attention.",
        "Copy, trained to 32, RoPE: the strongest head attends n back: 100 % at 1x, 20 % at 2x of its attention.",
    ]
    lines = {
        one["run"]: [{"probe": "positions", "shift": 4, "changed": changed}]
        for one, changed in zip(runs, (0.1, 0.3), strict=True)
    }
    assert shift_sentences(lines, runs) == [
        "Copy, trained to 16, RoPE: predictions kept: 90 % when all positions move by 4.",
        "Copy, trained to 32, RoPE: predictions kept: 70 % when all positions move by 4.",
    ]
