"""Checks rpe on a GPU in at most 8 minutes, and writes what came out to results/gpu/.

python scripts/gpu_check.py                                  all parts, one process after another
python scripts/gpu_check.py kernels stack                    some of them
python scripts/gpu_check.py --device cpu --small --out /tmp/check     the same code on a CPU, with small sizes

proofs    every encoding: decoding, padding, shifts, causality and gradients, in float32 and bfloat16
kernels   attention with every encoding against its formula in float64 on the CPU, forward and backward
flex      compiled FlexAttention against rpe's kernels at 2048 to 16384 tokens
stack     a step of 8 and 32 stacked seeds against one after another (goal: 5x)
memory    peak memory of a training step at 4096 tokens
quick     the recipe quick, its seeds stacked

A part that fails, or takes longer than its share of the time, costs that part alone. On a CPU each has the whole time: flex
compiles for minutes on a busy one.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from rpecli import catalog, encoding
from rpecli.attention import dispatch, reference
from rpecli.bench import REFERENCE, TASK, Size, machine, stack, steps, timing
from rpecli.config.recipe import Config
from rpecli.encoding import QueryKey
from rpecli.model import Transformer
from rpecli.proofs import model as proofs
from rpecli.table import Table
from rpecli.train.stacked import why_not_stackable

SECONDS = 480  # of all parts
SHARES = {"proofs": 90, "kernels": 80, "flex": 70, "stack": 70, "memory": 40, "quick": 120}  # seconds of each part at most
TOLERANCE = {"float32": 1e-4, "bfloat16": 6e-2}  # of differences of hidden states, which are about 1
KERNEL_TOLERANCE = {"float32": 1e-4, "bfloat16": 4e-2}  # of relative errors
N_HEAD, D = 4, 32
Row = dict[str, Any]
Part = Callable[[torch.device, bool], list[Row]]


def build(name: str) -> encoding.Encoding:
    return encoding.build(name, N_HEAD * D, N_HEAD)


def names(small: bool) -> list[str]:
    return catalog.names("encodings")[:4] if small else catalog.names("encodings")


def proof_rows(device: torch.device, small: bool) -> list[Row]:
    """One row per encoding and type of products: the largest error of each proof."""
    return [proof_row(name, dtype, device) for name in names(small) for dtype in TOLERANCE]


def proof_row(name: str, dtype: str, device: torch.device) -> Row:
    config = Config.from_keys(task=TASK, encoding=name, d_model=32, n_head=2, n_layer=2, dtype=dtype)
    torch.manual_seed(0)
    model = Transformer(config, vocabulary=20, max_train_length=16).to(device)
    ids_4x9 = torch.randint(20, (4, 9)).to(device)
    with device:  # what the proofs make is there too
        proofs.move_encodings(model, ids_4x9, steps=2)
        model.eval()
        errors = {
            "decoding": proofs.decoding_error(model, ids_4x9, [4, 1, 4]),
            "padding": proofs.padding_error(model, ids_4x9[:3], "left"),
            "later tokens": float(proofs.dependence(model, ids_4x9[:1]).triu(1).abs().max()),
        }
        if model.encodings[0].shift_invariant:
            errors["shift"] = proofs.shift_change(model, ids_4x9, 7)
        missing = proofs.without_gradient(model.train(), ids_4x9)
    good = all(error < TOLERANCE[dtype] for error in errors.values()) and not missing
    return {"encoding": name, "dtype": dtype, "ok": good, **errors, "without gradient": len(missing)}


def kernel_rows(device: torch.device, small: bool) -> list[Row]:
    length = 128 if small else 1024
    return [kernel_row(name, dtype, length, device) for name in names(small) for dtype in KERNEL_TOLERANCE]


def kernel_row(name: str, dtype: str, length: int, device: torch.device) -> Row:
    """Relative errors of attention and of its gradients against the formula in float64."""
    torch.manual_seed(0)
    module = build(name).on_scores
    x, *qkv = (torch.randn(1, length, N_HEAD * D) for _ in range(4))
    heads = [reference.split_heads(tensor, N_HEAD) for tensor in qkv]
    expected = attention(module.double(), x.double(), [tensor.double() for tensor in heads], None)
    module.to(device, torch.float32)
    kind = getattr(torch, dtype)
    actual = attention(module, x.to(device), [tensor.to(device, kind) for tensor in heads], dispatch.ForwardContext())
    errors = [relative_error(ours, theirs) for ours, theirs in zip(actual, expected, strict=True)]
    row = dict(zip(("output", "gradient of q", "gradient of k", "gradient of v"), errors, strict=True))
    return {"encoding": name, "dtype": dtype, "ok": max(errors) < KERNEL_TOLERANCE[dtype], **row}


def attention(
    module: Any, x: torch.Tensor, heads: list[torch.Tensor], context: "dispatch.ForwardContext | None"
) -> list[torch.Tensor]:
    """Output and gradients by the kernel that serves the encoding, or by the formula for no context."""
    q, k, v = (tensor.clone().requires_grad_() for tensor in heads)
    positions_1xS = torch.arange(x.shape[1], device=x.device)[None]
    if context is None:
        masked = reference.causal_mask(x.shape[1], x.shape[1])
        out = reference.softmax(reference.scores(module, q, k, x, positions_1xS), masked) @ v
    else:
        out = dispatch.attend(module, QueryKey.last(q, k, positions_1xS, module.features(x)), v, context)
    out.float().square().sum().backward()
    return [out, *(tensor.grad for tensor in (q, k, v) if tensor.grad is not None)]


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    ours, theirs = ours.detach().cpu().double(), theirs.detach().double()
    return float((ours - theirs).norm() / theirs.norm())


def flex_rows(device: torch.device, small: bool) -> list[Row]:
    """Milliseconds of ALiBi by compiled FlexAttention and by rpe, forward alone and with backward."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    rows = []
    compiled = torch.compile(flex_attention)
    biased = next(
        name for name in catalog.names("encodings") if dispatch.kernel(encoding.build(name, N_HEAD * D, N_HEAD)) == "distance"
    )
    module = encoding.build(biased, N_HEAD * D, N_HEAD).on_scores.to(device)
    kind = torch.float32 if device.type == "cpu" else torch.bfloat16
    for length in (512,) if small else (2048, 4096, 8192, 16384):
        q, k, v = (torch.randn(1, N_HEAD, length, D, device=device, dtype=kind) for _ in range(3))
        bias_HxS = module.by_distance(torch.arange(length, device=device)).detach().float()  # type: ignore[operator]
        mask = create_block_mask(lambda b, h, i, j: i >= j, None, None, length, length, device=str(device))

        def add_bias(score: Any, b: Any, h: Any, i: Any, j: Any, bias_HxS: Any = bias_HxS) -> Any:
            return score + bias_HxS[h, (i - j).clamp(min=0)]

        positions_1xS = torch.arange(length, device=device)[None]
        context = dispatch.ForwardContext(contiguous_positions=True)

        def flex(q: Any = q, k: Any = k, v: Any = v, mask: Any = mask, score: Any = add_bias) -> Any:
            return compiled(q, k, v, score_mod=score, block_mask=mask)

        def ours(q: Any = q, k: Any = k, v: Any = v, at: Any = positions_1xS, context: Any = context) -> Any:
            with torch.no_grad():
                return dispatch.attend(module, QueryKey.last(q, k, at), v, context)

        error = relative_error(ours(), flex().cpu().double())
        times = machine.stopwatch(device, 10.0).interleave({"flex": flex, "rpe": ours}, 5)
        by_name = {f"{name} ms": 1000 * timed.median for name, timed in times.items()}
        ratio = timing.ratio(times["rpe"], times["flex"])
        rows.append(
            {"encoding": biased, "length": length, "ok": error < 4e-2, **by_name, "rpe / flex": ratio, "difference": error}
        )
    return rows


def stack_rows(device: torch.device, small: bool) -> list[Row]:
    """Milliseconds of a step of all seeds, one after another and stacked."""
    rows = []
    for n_seeds in (2,) if small else (8, 32):
        size = Size(32, 1, 2, 16, 4) if small else Size(64, 2, 4, 64, 16)
        reason = why_not_stackable([t.config for t in stack.trainers(size, REFERENCE, device, range(2))], device)
        cases = {
            "serial": stack.serial_call(stack.trainers(size, REFERENCE, device, range(n_seeds)), 1),
            "stacked": stack.stacked_call(stack.trainers(size, REFERENCE, device, range(n_seeds)), 1),
        }
        times = machine.stopwatch(device, 20.0).interleave(cases, 5)
        gain = timing.ratio(times["serial"], times["stacked"])
        row = {f"{name} ms": 1000 * timed.median / stack.STEPS for name, timed in times.items()}
        rows.append({"seeds": n_seeds, "ok": reason is None, **row, "gain": gain, "goal 5x": gain >= 5})
    return rows


def memory_rows(device: torch.device, small: bool) -> list[Row]:
    """Peak memory of a training step, in MiB, by torch's own count."""
    rows = []
    size = Size(32, 1, 2, 64, 2) if small else Size(256, 4, 8, 4096, 1)
    for name in names(small):
        torch.cuda.empty_cache()
        case = steps.rpe_case(size, name, "bfloat16", device)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        case.step()
        peak = torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else float("nan")
        rows.append({"encoding": name, "size": str(size), "ok": True, "MiB": peak})
        del case
    return rows


def quick_rows(device: torch.device, small: bool) -> list[Row]:
    """Seconds of a recipe with stacked seeds."""
    import tempfile

    recipe = "tiny" if small else "quick"
    with tempfile.TemporaryDirectory() as folder:
        flags = f"--device {device} --stack on --seed 0:2 --jobs 1 --no-reference".split()
        words = [sys.executable, "-m", "rpecli", "run", recipe, *flags]
        begin = time.monotonic()
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
        seconds = time.monotonic() - begin
        trained = sum('"trained"' in path.read_text() for path in Path(folder).glob("runs/*/run.json"))
    return [{"recipe": recipe, "ok": done.returncode == 0, "seconds": seconds, "runs": trained, "message": done.stderr[-200:]}]


PARTS: dict[str, Part] = {
    "proofs": proof_rows,
    "kernels": kernel_rows,
    "flex": flex_rows,
    "stack": stack_rows,
    "memory": memory_rows,
    "quick": quick_rows,
}


def table(name: str, rows: list[Row]) -> Table:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return Table(name, columns, "", [[cell(row.get(column, "")) for column in columns] for row in rows])


def cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def run_part(name: str, options: argparse.Namespace, seconds: float) -> str:
    """Runs a part in a process of its own and writes its rows; returns its section of the report."""
    words = [sys.executable, __file__, "--part", name, "--device", options.device, "--out", str(options.out)]
    begin = time.monotonic()
    try:
        done = subprocess.run([*words, *["--small"] * options.small], capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return f"## {name}\n\nNOT FINISHED after {seconds:.0f} s."
    took = time.monotonic() - begin
    if done.returncode:
        return f"## {name}\n\nFAILED after {took:.0f} s: {(done.stderr.strip().splitlines() or ['no message'])[-1]}"
    rows = json.loads((options.out / f"{name}.json").read_text())
    bad = sum(not row["ok"] for row in rows)
    return f"## {name}\n\n{f'{bad} of {len(rows)} NOT OK' if bad else 'all ok'}, {took:.0f} s.\n\n{table('', rows).markdown()}"


def device_of(name: str) -> torch.device:
    if name.startswith("cuda") and not torch.cuda.is_available():
        sys.exit("no CUDA here: --device cpu --small tries the same code on a CPU")
    return torch.device(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="parts; all by default")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="small sizes and few encodings")
    parser.add_argument("--out", type=Path, default=Path("results/gpu"))
    parser.add_argument("--part", help=argparse.SUPPRESS)
    options = parser.parse_args()
    device = device_of(options.device)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.part:
        rows = PARTS[options.part](device, options.small)
        (options.out / f"{options.part}.json").write_text(json.dumps(rows, indent=1) + "\n")
        return
    end = time.monotonic() + SECONDS
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    sections = [f"# GPU check: {name}, torch {torch.__version__}"]
    for part in options.parts or PARTS:
        left = min(SHARES[part], max(1.0, end - time.monotonic()))
        sections.append(run_part(part, options, left if device.type == "cuda" else SECONDS))
        print(sections[-1], "\n", flush=True)
        (options.out / "README.md").write_text("\n\n".join(sections) + "\n")
    sys.exit(any(word in "\n".join(sections) for word in ("FAILED", "NOT ")))


if __name__ == "__main__":
    main()
