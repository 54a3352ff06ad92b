"""Writes the generated parts of README.md and docs/; with `--check` it only lists what is out of date.

A generated part stands between `<!-- generated: NAME -->` and `<!-- end -->`. NAME is a key of GENERATORS, and every generator
has exactly one place in all pages. docs/report.schema.json is generated as a whole.
"""

import argparse
import csv
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import report_schema

from rpecli import catalog
from rpecli.attention import kernels
from rpecli.describe import listing, source
from rpecli.report.format import format_number
from rpecli.table import Table

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SCHEMA = ROOT / "docs" / "report.schema.json"
COMMAND = "python scripts/docs.py"
BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
INDEX = ["encoding", "title", "group", "what it does"]
PROPERTIES = ["encoding", "group", "learns", "shift invariant", "kernel", "attention", "past the training length", "year"]
LEARNS = {"yes": "yes", "no": "no", "option": "only with an option"}


def table(rows: list[dict[str, str]]) -> str:
    """Markdown of rows that have the same keys, which are the columns."""
    return Table.of(rows).markdown(padded=False)


def encoding_table(columns: list[str]) -> str:
    """One row per encoding; the name is a link to its section on the same page."""
    rows = [{column: row[column] for column in columns} for row in listing.rows("encodings")]
    return table([row | {"encoding": f"[{row['encoding']}](#{row['encoding']})"} for row in rows])


def encoding_sections() -> str:
    """One section per encoding."""
    return "\n\n".join(encoding_section(source.read(name)) for name in catalog.names("encodings"))


def encoding_section(facts: source.EncodingFacts) -> str:
    """Heading, summary, docstring as it stands (formulas are laid out in it), then the facts as a list."""
    lines = {
        "Paper": " ".join(filter(None, (facts.paper, facts.year and f"({facts.year})"))) or "none",
        "Group": facts.group,
        "Acts on": "; ".join(facts.acts_on) + (f" (`{'`, `'.join(facts.hooks)}`)" if facts.hooks else ""),
        "Kernel": f"`{facts.kernel}`",
        "Learned parameters": LEARNS[facts.learns] + ("; one instance for all layers" if facts.shared else ""),
        "Shift invariant": "yes" if facts.shift_invariant else "no",
        "Attention": "causal only" if facts.causal_only else "causal or in both directions",
        "Options": ", ".join(f"`{key}={value}`" for key, value in facts.options.items()) or "none",
        "Past the training length": facts.extrapolation,
    }
    about = f"```text\n{facts.about}\n```\n\n" if facts.about else ""
    return f"## {facts.name}\n\n{facts.summary}\n\n{about}" + "\n".join(f"- {key}: {value}" for key, value in lines.items())


def kernel_table() -> str:
    """One row per attention kernel: what it costs."""
    return table([{"kernel": f"`{kernel}`", "cost": cost} for kernel, cost in kernels.COST.items()])


def quick_table() -> str:
    """The token accuracy of `rpe run quick`, copied from its committed summary."""
    rows = list(csv.DictReader((ROOT / "results/shipped/quick/summary.csv").read_text(encoding="utf-8").splitlines()))
    accuracy: dict[tuple[str, str], dict[tuple[str, float], float]] = {}
    for row in rows:
        cells = accuracy.setdefault((row["encoding"], row["group"]), {})
        cells[row["task"].split(":")[0], float(row["factor"])] = float(row["token_accuracy_mean"])
    columns = [(task, factor) for task in ("copy", "sort", "parity") for factor in (1, 2, 8)]
    order = sorted(accuracy, key=lambda key: (key[1] != "APE", key[0] == "none", key[0]))
    lines = [{"encoding": encoding, "group": group} | {f"{task} {factor}x": format_number(accuracy[encoding, group][task, factor])
             for task, factor in columns} for encoding, group in order]  # fmt: skip
    (seeds,) = {row["runs"] for row in rows}
    return (
        f"{table(lines)}\n\nMean token accuracy over {seeds} seeds at 1, 2 and 8 times the training length of 16 "
        "([the full report](results/shipped/quick/report.md), with the commit and the machine)."
    )


GENERATORS: dict[str, Callable[[], str]] = {
    "encodings": lambda: encoding_table(INDEX),
    "properties": lambda: encoding_table(PROPERTIES),
    "kernels": kernel_table,
    "sections": encoding_sections,
    "tasks": lambda: table(listing.rows("tasks")),
    "recipes": lambda: table(listing.rows("recipes")),
    "keys": lambda: table(listing.keys()),
    "report": report_schema.documentation,
    "summary": quick_table,
}


def problems() -> list[str]:
    """Generators without a place, with more than one, and marks that name no generator or have no end."""
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    names = [match[2] for text in texts for match in BLOCK.finditer(text)]
    marks = sum(text.count("<!-- generated") for text in texts)
    lines = [f"{name}: {names.count(name)} places instead of 1" for name in GENERATORS if names.count(name) != 1]
    lines += [f"{name}: no generator of this name in scripts/docs.py" for name in sorted(set(names) - set(GENERATORS))]
    return lines + (["a mark <!-- generated: NAME --> without <!-- end -->"] if marks != len(names) else [])


def generated() -> dict[Path, str]:
    """Every file with generated parts, and what it should say. Raises KeyError for a block that no generator is named after."""
    pages = {page: BLOCK.sub(lambda match: f"{match[1]}{GENERATORS[match[2]]()}\n{match[4]}", page.read_text(encoding="utf-8"))
             for page in PAGES}  # fmt: skip
    return pages | {SCHEMA: json.dumps(report_schema.json_schema(), indent=1) + "\n"}


def stale() -> dict[Path, str]:
    """The files that are out of date, and what they should say."""
    return {path: text for path, text in generated().items() if not path.exists() or path.read_text(encoding="utf-8") != text}


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the generated parts of README.md and docs/, and docs/report.schema.json.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file is out of date")
    arguments = parser.parse_args(words)
    if lines := problems():
        print("\n".join(lines), file=sys.stderr)
        return 1
    files = stale()
    for path, text in files.items():
        print(f"{path.relative_to(ROOT)} {'is out of date' if arguments.check else 'written'}")
        if not arguments.check:
            path.write_text(text, encoding="utf-8")
    if files and arguments.check:
        print(f"Run: {COMMAND}", file=sys.stderr)
    return 1 if files and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
