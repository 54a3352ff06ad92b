"""The tables in README and docs are generated from the code and the results, and stay true.

`RPE_WRITE_DOCS=1 pytest tests/test_docs.py` writes them anew.
"""

import csv
import json
import os
import re
from pathlib import Path

import pytest

from rpecli.config import load as config_load
from rpecli.describe import listing as tables
from rpecli.report import schema
from rpecli.report.format import number

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def summary() -> str:
    """The quick recipe's token accuracy, copied from its committed summary."""
    rows = list(csv.DictReader((ROOT / "results/quick/summary.csv").read_text(encoding="utf-8").splitlines()))
    found = {(row["encoding"], row["group"]): {} for row in rows}
    for row in rows:
        found[row["encoding"], row["group"]][row["task"].split(":")[0], float(row["factor"])] = float(row["token_accuracy_mean"])
    columns = [(task, factor) for task in ("copy", "sort", "parity") for factor in (1, 2, 8)]
    table = []
    for (encoding, group), cells in sorted(
        found.items(), key=lambda item: (item[0][1] != "APE", item[0][1] == "none", item[0][0])
    ):
        numbers = {f"{task} {factor}x": number(cells[task, factor]) for task, factor in columns}
        table.append({"encoding": encoding, "group": group} | numbers)
    seeds = {row["runs"] for row in rows}
    assert len(seeds) == 1
    said = f"Mean token accuracy over {seeds.pop()} seeds at 1, 2 and 8 times the training length of 16 " \
        "([all of it](results/quick/report.md), with the commit and machine)."  # fmt: skip
    return f"{tables.markdown(table)}\n\n{said}"


INDEX = ["encoding", "group", "what it does"]
FACTS = ["encoding", "group", "learns", "shift invariant", "kernel", "attention", "past the trained length", "year"]
GENERATORS = {
    "encodings": lambda: tables.markdown(tables.linked(tables.rows("encodings"), INDEX)),
    "zoo": lambda: tables.markdown(tables.linked(tables.rows("encodings"), FACTS)),
    "kernels": lambda: tables.markdown(tables.kernels()),
    "portraits": tables.sections,
    "tasks": lambda: tables.markdown(tables.rows("tasks")),
    "recipes": lambda: tables.markdown(tables.rows("recipes")),
    "keys": lambda: tables.markdown(tables.keys()),
    "report": schema.described,
    "summary": summary,
}
BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_generated_tables_are_what_the_code_says(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    fresh = BLOCK.sub(lambda match: f"{match[1]}{GENERATORS[match[2]]()}\n{match[4]}", text)
    if os.environ.get("RPE_WRITE_DOCS"):
        page.write_text(fresh, encoding="utf-8")
    assert page.read_text(encoding="utf-8") == fresh, f"{page.name} is out of date: RPE_WRITE_DOCS=1 pytest tests/test_docs.py"


def test_every_generated_table_has_its_place_and_every_place_its_table() -> None:
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    assert sorted(match[1] for text in texts for match in BLOCK.findall(text)) == sorted(GENERATORS)
    assert sum(text.count("<!-- generated") for text in texts) == len(GENERATORS), "a mark without its end is no place"


@pytest.mark.parametrize("page", [*PAGES, ROOT / "LOG.md"], ids=lambda page: page.name)
def test_no_page_keeps_the_marks_of_a_merge(page: Path) -> None:
    assert not re.findall(r"^(?:<<<<<<<|>>>>>>>)", page.read_text(encoding="utf-8"), re.MULTILINE)


def test_the_schema_file_is_what_the_models_say() -> None:
    file, fresh = ROOT / "docs/report.schema.json", json.dumps(schema.as_json_schema(), indent=1) + "\n"
    if os.environ.get("RPE_WRITE_DOCS"):
        file.write_text(fresh, encoding="utf-8")
    assert file.read_text(encoding="utf-8") == fresh, "RPE_WRITE_DOCS=1 pytest tests/test_docs.py"


def anchors(page: Path) -> set[str]:
    """What a link to a heading of a page may end with: its words in lower case, joined by hyphens."""
    headings = re.findall(r"^#+ (.+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        file, _, heading = target.partition("#")
        there = page.parent / file if file else page
        assert there.exists(), f"{page.name} links to {target}"
        assert not heading or heading in anchors(there), f"{page.name} links to {target}, and no heading there is called so"


def test_the_example_recipe_of_the_docs_gives_what_the_text_says(tmp_path: Path) -> None:
    code = re.search(r"```yaml\n(.*?)```", (ROOT / "docs/recipes.md").read_text(encoding="utf-8"), re.DOTALL)
    assert code
    (tmp_path / "mine.yaml").write_text(code[1], encoding="utf-8")
    configs = config_load.load(str(tmp_path / "mine.yaml"))[0].configs()
    assert {config.task.split(":")[0]: config.steps for config in configs} == {"copy": 1050, "sort": 900, "parity": 600}
    assert [config.lr for config in configs if config.task.startswith("sort")] == [4e-3]


def test_the_example_encoding_of_the_docs_works(tmp_path: Path) -> None:
    import torch

    from rpecli import encoding
    from rpecli.attention import reference as attention_reference

    code = re.search(r"```python\n(.*?)```", (ROOT / "docs/extending.md").read_text(encoding="utf-8"), re.DOTALL)
    assert code
    (tmp_path / "mine.py").write_text(code[1], encoding="utf-8")
    made = encoding.build(f"{tmp_path}/mine.py:start=1", d_model=16, n_head=2)
    q = torch.zeros(1, 2, 5, 8)
    assert attention_reference.scores(made, q, q)[0, 0, 4].argmax() == 4
