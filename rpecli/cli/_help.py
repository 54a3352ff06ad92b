"""Commands whose help ends with examples, one per line, and that know which flags were given."""

import inspect
from collections import Counter
from pathlib import Path
from typing import Any, get_args

from typer.core import TyperCommand, TyperGroup

from rpecli.cli import _flags as flags


class _ExamplesLast:
    """Shows the epilog as it is written: typer would join its lines."""

    def __init__(self, *arguments: Any, epilog: str | None = None, **more: Any):
        more["help"] = _rejoined(more.get("help") or "") or None
        super().__init__(*arguments, **more)
        self.examples = (epilog or "").strip()

    def format_help(self, context: Any, formatter: Any) -> None:
        super().format_help(context, formatter)  # type: ignore[misc]  # with rich, this prints
        formatter.write("\n" + "\n".join(f" {line}".rstrip() for line in self.examples.splitlines()) + "\n")


def _rejoined(text: str) -> str:
    """Paragraphs as one line each: with rich, typer would keep the line ends of the docstring."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in inspect.cleandoc(text).split("\n\n"))


class Command(_ExamplesLast, TyperCommand):
    """A command of `rpe`. Refused are an option that holds one value and is given twice, and a path without a character."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            values, _, parameters = self._parsed(ctx, list(args))
            options = [parameter for parameter in parameters if parameter.param_type_name == "option"]
            flags.set_given([option.opts[0] for option in options])
            single = [option for option in options if not option.multiple and not getattr(option, "is_flag", False)]
            counts = Counter(option.opts[0] for option in single)
            for name in (name for name, number in counts.items() if number > 1):
                ctx.fail(f"{name} is given twice: keep one")
            for option in single:
                if _is_path(option) and not values[option.name].strip():  # pathlib takes it for the working folder
                    ctx.fail(f"{option.opts[0]} is empty: write a path, or . for the working folder")
        return super().parse_args(ctx, args)

    def _parsed(self, ctx: Any, args: list[str]) -> Any:
        """What the parser makes of the arguments; an option of other commands is an error that names them."""
        try:
            return self.make_parser(ctx).parse_args(args)
        except Exception as error:  # typer does not export NoSuchOption
            name = getattr(error, "option_name", None)
            commands = [] if ctx.parent is None else _commands_with(ctx.parent.command, name)
            if commands and not any(name in option.opts for option in self.params):
                first = "" if len(commands) > 1 else f": rpe {commands[0]}{_argument(ctx.parent.command, commands[0])} {name}"
                ctx.fail(f"No such option: {name}, which is of rpe {', '.join(commands)}{first}")
            raise


def _commands_with(group: Any, option: str | None) -> list[str]:
    """The commands of a group that have an option."""
    return [name for name, command in group.commands.items() if any(option in parameter.opts for parameter in command.params)]


def _argument(group: Any, command: str) -> str:
    """` RECIPE`: what a command is given first; empty for nothing."""
    names = [one.name for one in group.commands[command].params if one.param_type_name == "argument"]
    return f" {names[0].upper()}" if names else ""


def _is_path(option: Any) -> bool:
    annotation = option.type_descriptor.annotation
    return Path in (annotation, *get_args(annotation))


class Group(_ExamplesLast, TyperGroup):
    """`rpe` itself."""
