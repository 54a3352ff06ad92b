"""The generated parts of README.md and docs/ are current, links lead somewhere, and the examples work."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_origin

import pytest
import record_docs
from pydantic import TypeAdapter

import docs
from rpecli import catalog
from rpecli.config import load as config_load
from rpecli.run import records

ROOT = docs.ROOT


@pytest.mark.parametrize("path", [*docs.PAGES, docs.SCHEMA], ids=lambda path: path.name)
def test_generated_parts_are_current(path: Path, fresh: dict[Path, str]) -> None:
    assert path.read_text(encoding="utf-8") == fresh[path], f"{path.name} is out of date: run {docs.COMMAND}"


@pytest.fixture(scope="module")
def fresh() -> dict[Path, str]:
    """What every file with generated parts should say."""
    return docs.generated()


def test_every_generator_has_exactly_one_place() -> None:
    assert not docs.problems()


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page in place of those of the project, with the text `old` in a generated block."""
    path = tmp_path / "page.md"
    path.write_text("<!-- generated: numbers -->\nold\n<!-- end -->\n", encoding="utf-8")
    monkeypatch.setattr(docs, "ROOT", tmp_path)
    monkeypatch.setattr(docs, "PAGES", [path])
    monkeypatch.setattr(docs, "SCHEMA", tmp_path / "schema.json")
    monkeypatch.setattr(docs, "GENERATORS", {"numbers": lambda: "new"})
    return path


def test_check_reports_a_stale_page_and_writing_updates_it(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert docs.main(["--check"]) == 1
    assert "page.md is out of date" in capsys.readouterr().out
    assert "old" in page.read_text(encoding="utf-8")
    assert docs.main([]) == 0
    assert page.read_text(encoding="utf-8") == "<!-- generated: numbers -->\nnew\n<!-- end -->\n"
    assert not docs.stale()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "numbers: 0 places"),
        ("<!-- generated: numbers -->\n<!-- end -->\n" * 2, "numbers: 2 places"),
        ("<!-- generated: numbers -->\n<!-- end -->\n<!-- generated: words -->\n<!-- end -->\n", "words: no generator"),
        ("<!-- generated: numbers -->\n<!-- end -->\n<!-- generated: numbers -->\n", "without <!-- end -->"),
    ],
)
def test_a_block_that_does_not_fit_is_a_problem(page: Path, text: str, problem: str) -> None:
    page.write_text(text, encoding="utf-8")
    (line,) = docs.problems()
    assert problem in line


def test_the_command_of_the_message_works() -> None:
    command = [sys.executable, *docs.COMMAND.split()[1:], "--check"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONSAFEPATH"}  # it imports its neighbour
    completed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert completed.returncode == 0, completed.stdout + completed.stderr


@pytest.mark.parametrize("page", [*docs.PAGES, ROOT / "LOG.md"], ids=lambda page: page.name)
def test_no_page_has_merge_conflict_markers(page: Path) -> None:
    assert not re.findall(r"^(?:<<<<<<<|>>>>>>>)", page.read_text(encoding="utf-8"), re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as in a link `page.md#anchor`: words in lower case, joined by hyphens."""
    headings = re.findall(r"^#+ (.+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", docs.PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        file, _, heading = target.partition("#")
        destination = page.parent / file if file else page
        assert destination.exists(), f"{page.name} links to {target}"
        assert not heading or heading in anchors(destination), f"{page.name} links to {target}, which has no such heading"


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
    mine = encoding.build(f"{tmp_path}/mine.py:start=1", d_model=16, n_head=2)
    q = torch.zeros(1, 2, 5, 8)
    assert attention_reference.scores(mine, q, q)[0, 0, 4].argmax() == 4


def test_every_example_encoding_of_the_docs_decodes_as_in_a_full_pass(tmp_path: Path, model_of, ids_of) -> None:
    import torch

    from rpecli.model import Cache

    examples = re.findall(r"```python\n(.*?)```", (ROOT / "docs/extending.md").read_text(encoding="utf-8"), re.DOTALL)
    encodings = [example for example in examples if "rpecli.encoding" in example]
    assert len(encodings) == 2
    for number, example in enumerate(encodings):
        (tmp_path / f"mine{number}.py").write_text(example, encoding="utf-8")
        model, ids, cache = model_of(f"{tmp_path}/mine{number}.py"), ids_of(2, 9), Cache()
        with torch.no_grad():
            states = torch.cat([model(part, cache=cache) for part in ids.split([5, 1, 3], dim=1)], dim=1)
            torch.testing.assert_close(states, model(ids), atol=2e-5, rtol=0)


def test_the_study_of_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from rpecli.cli.app import app

    code = re.search(r"```yaml\n(.*?)```", (ROOT / "docs/tutorial.md").read_text(encoding="utf-8"), re.DOTALL)
    assert code
    (tmp_path / "first.yaml").write_text(code[1], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    small = [
        "--steps=2",
        "--warmup=1",
        "--samples=4",
        "--tokens=256",
        "--d-model=16",
        "--n-head=2",
        "--n-layer=1",
        "--device=cpu",
    ]
    result = CliRunner().invoke(app, ["run", "./first.yaml", "--jobs=0", *small])
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "runs").iterdir())) == 9
    assert (tmp_path / "results" / "first" / "report.html").is_file()


def test_every_encoding_has_its_picture() -> None:
    from rpecli import catalog

    assert {path.stem for path in (ROOT / "docs/images").glob("*.svg")} == set(catalog.names("encodings"))


def test_the_readme_counts_the_encodings_that_ship() -> None:
    assert f"ships {len(catalog.names('encodings'))} encodings" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_key_of_a_record_is_explained() -> None:
    names = {name for section in record_docs.SECTIONS.values() for name in section.values()}
    assert [f"{name}.{key}" for name in names for key, field in record_docs.fields_of(name).items() if not field.meaning] == []


def test_the_tables_of_records_have_the_keys_of_their_schema() -> None:
    for section in record_docs.SECTIONS.values():
        for name in section.values():
            schema = TypeAdapter(getattr(records, name)).json_schema()
            fields = record_docs.fields_of(name)
            assert fields.keys() == schema["properties"].keys()
            assert {key for key, field in fields.items() if field.always} == set(schema["required"])


def test_every_kind_of_record_is_documented() -> None:
    names = {name for section in record_docs.SECTIONS.values() for name in section.values()}
    lines = {get_args(kind)[0] if get_origin(kind) else kind for kind in records.KINDS.values()}
    kinds = {kind.__name__ for line in lines for kind in get_args(line) or (line,)}
    assert kinds == set(record_docs.ENTIRE) <= names


def test_the_readme_counts_the_tasks_that_ship() -> None:
    from rpecli.describe import listing

    text = f"ships {len(catalog.names('tasks'))} tasks, {len(listing.task_choices())} with their variants"
    assert text in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_glossary_names_the_baselines() -> None:
    from rpecli.config import suites

    text = " ".join((ROOT / "docs/glossary.md").read_text(encoding="utf-8").split())
    entry = text.split("## Baselines ")[1].split("##")[0]
    assert set(entry.split(": ")[1].split(". ")[0].replace(" and ", ", ").split(", ")) == set(suites.baselines())


def test_every_folder_of_the_package_is_in_the_drawing_of_its_layers_and_in_the_table() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    drawing = text.split("## The layer rule")[1].split("```")[1]
    folders = {path.parent.name for path in (ROOT / "rpecli").glob("*/__init__.py")}
    assert {name for name in folders if f"`{name}/`" not in text.split("## The folders")[1]} == set()
    assert {name for name in folders if f"{name}/" not in drawing} == set()


def test_the_readme_lists_every_page_of_the_documentation() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"| [docs/{page.name}](docs/{page.name}) |" not in text] == []


def test_the_readme_says_what_every_folder_of_the_package_holds() -> None:
    rows = [line for line in docs.folders().splitlines() if line.startswith("| [")]
    assert all(len(line.split("|")[2].strip()) > 10 for line in rows)
    folders = {f"rpecli/{path.parent.name}" for path in (ROOT / "rpecli").glob("*/*.py")}
    assert folders <= {line.split("[")[1].split("/]")[0] for line in rows}
