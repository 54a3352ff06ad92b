"""The glossary of a page: docs/glossary.md, whose copy in templates/ `python scripts/docs.py` writes."""

import re
from html import escape
from pathlib import Path

from rpecli.escape import html
from rpecli.table import slug

FILE = Path(__file__).with_name("templates") / "glossary.md"
BOLD = re.compile(r"\*\*(.+?)\*\*")
LINK = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")


def terms() -> dict[str, str]:
    """Every term with its explanation as HTML."""
    _, *sections = FILE.read_text(encoding="utf-8").split("\n## ")
    return {title.strip(): _html(text) for title, _, text in (section.partition("\n") for section in sections)}


def term_id(title: str) -> str:
    """Of its place on a page."""
    return f"term-{slug(title)}"


def _html(text: str) -> str:
    """Paragraphs and lists; the marks of Markdown that the glossary uses."""
    return "".join(_block(block) for block in text.strip().split("\n\n"))


def _block(block: str) -> str:
    if block.startswith("- "):
        items = re.split(r"\n- ", block.removeprefix("- "))
        return f"<ul>{''.join(f'<li>{_marks(item)}</li>' for item in items)}</ul>"
    return f"<p>{_marks(block)}</p>"


def _marks(text: str) -> str:
    marked = BOLD.sub(r"<b>\1</b>", html(" ".join(text.split())))
    return LINK.sub(_link, marked)


def _link(match: re.Match[str]) -> str:
    """A link to another term; of one that leads elsewhere, its words."""
    words, target = match.groups()
    return f'<a href="#{escape(term_id(target[1:]))}">{words}</a>' if target.startswith("#") else words
