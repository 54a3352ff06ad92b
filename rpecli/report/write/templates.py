"""Jinja2 templates of reports: HTML with autoescape, Markdown as it stands; a name that is not there is an error."""

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rpecli.table import html, slug

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).resolve().parents[1] / "templates"


def render(name: str, **context: Any) -> str:
    """The text of a template; ends with one newline, and never has two empty lines in a row."""
    text = environment().get_template(name).render(**context)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def unbroken(text: str) -> str:
    """Text whose lines do not break before a per cent sign."""
    return text.replace(" %", "\u00a0%")


@cache
def environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(FOLDER), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
    )  # fmt: skip
    environment.filters |= {"slug": slug, "code": lambda text: Markup(html(text)), "unbroken": unbroken}
    return environment
