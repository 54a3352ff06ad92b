"""Commands whose help ends with examples, one per line."""

from typing import Any

from typer.core import TyperCommand, TyperGroup


class _ExamplesLast:
    """Shows the epilog as it is written: typer would join its lines."""

    def __init__(self, *arguments: Any, epilog: str | None = None, **more: Any):
        super().__init__(*arguments, **more)
        self.examples = (epilog or "").strip()

    def format_help(self, context: Any, formatter: Any) -> None:
        super().format_help(context, formatter)  # type: ignore[misc]  # with rich, this prints
        formatter.write("\n" + "\n".join(f" {line}".rstrip() for line in self.examples.splitlines()) + "\n")


class Command(_ExamplesLast, TyperCommand):
    """A command of `rpe`."""


class Group(_ExamplesLast, TyperGroup):
    """`rpe` itself."""
