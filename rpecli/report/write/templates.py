"""Jinja2 templates of reports: what they insert is escaped for HTML or Markdown; a name that is not there is an error."""

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rpecli.escape import fenced, html, markdown, visible
from rpecli.table import slug

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).resolve().parents[1] / "templates"


def render(name: str, **context: Any) -> str:
    """The text of a template; ends with one newline, and never has two empty lines in a row."""
    text = environment(name.endswith(".html.j2")).get_template(name).render(**context)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def unbroken(text: str) -> str:
    """Text whose lines do not break before a per cent sign."""
    return text.replace(" %", "\u00a0%")


@cache
def environment(is_html: bool) -> "Environment":
    """For HTML, or for Markdown."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def insert_html(value: Any) -> Any:
        return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    def insert_markdown(value: Any) -> Any:
        return markdown(value) if isinstance(value, str) else value

    environment = Environment(
        loader=FileSystemLoader(FOLDER), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=is_html,
        finalize=insert_html if is_html else insert_markdown,
    )  # fmt: skip
    environment.filters |= {"slug": slug, "code": lambda text: Markup(html(text)), "unbroken": unbroken, "fenced": fenced}
    return environment
