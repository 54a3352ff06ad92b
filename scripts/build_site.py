"""Builds the documentation as a site: `python scripts/build_site.py [FOLDER]`, by default `site/`. A warning is an error.

The pages stay readable where they stand. Here they are copied into one folder, README.md as its index, so that every link leads
to a page of the site; then MkDocs builds that folder.
"""

import logging
import re
import shutil
import sys
import tempfile
from pathlib import Path

from mkdocs.commands.build import build
from mkdocs.config import load_config
from pymdownx.superfences import fence_code_format

ROOT = Path(__file__).resolve().parents[1]
BESIDE = ["LOG.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "CITATION.cff", "results"]  # what pages link to
NAVIGATION = [
    {"Home": "index.md"},
    {"Start": ["tutorial.md", "concepts.md", "reading-a-report.md", "faq.md", "glossary.md"]},
    {"How to": ["howto.md", "choose.md", "clusters.md", "extending.md", "python.md", "recipes.md"]},
    {"Reference": ["cli.md", "encodings.md", "reference-results.md", "gallery.md", "tasks.md", "files.md"]},
    {"Trust": ["protocol.md", "reproduce.md", "robustness.md", "bench.md", "LOG.md"]},
    {"Project": ["architecture.md", "CONTRIBUTING.md", "CHANGELOG.md"]},
]
LINK = re.compile(r"(\]\()(\.\./|docs/)(?!\.\./)")  # from docs/ to what lies beside it, and from there into docs/


def copy_pages(folder: Path) -> None:
    """Everything that the site shows, with links that fit one folder."""
    shutil.copytree(ROOT / "docs", folder)
    for name in BESIDE:
        source = ROOT / name
        shutil.copytree(source, folder / name) if source.is_dir() else shutil.copy(source, folder / name)
    shutil.copy(ROOT / "README.md", folder / "index.md")
    for page in folder.glob("*.md"):
        text = LINK.sub(r"\1", page.read_text(encoding="utf-8"))
        page.write_text(text.replace("](README.md", "](index.md"), encoding="utf-8")
    index = folder / "results" / "README.md"
    index.write_text(index.read_text(encoding="utf-8").replace("](../docs/", "](../"), encoding="utf-8")


def main(target: str = "site") -> None:
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    with tempfile.TemporaryDirectory() as place:
        pages, file = Path(place) / "docs", Path(place) / "mkdocs.yml"
        copy_pages(pages)
        file.write_text("site_name: rpe\n", encoding="utf-8")
        diagrams = {"name": "mermaid", "class": "mermaid", "format": fence_code_format}
        config = load_config(
            str(file), docs_dir=str(pages), site_dir=str(Path(target).resolve()), strict=True,
            theme={"name": "material", "font": False, "features": ["navigation.tabs", "toc.follow", "content.code.copy"]},
            markdown_extensions=["admonition", "tables", "toc", "pymdownx.highlight",
                                 {"pymdownx.superfences": {"custom_fences": [diagrams]}}],
            nav=NAVIGATION,
            validation={"nav": {"omitted_files": "ignore"}, "links": {"not_found": "warn", "anchors": "warn"}},
        )  # fmt: skip
        build(config)


if __name__ == "__main__":
    main(*sys.argv[1:])
