"""`rpe check`: validates recipes before hours of training."""

from typing import Annotated

import typer

from rpecli import catalog
from rpecli.cli import _flags as flags
from rpecli.cli._inputs import check_recipe, load_recipe
from rpecli.cli._output import print_tables, say

EXAMPLES = """
Examples:
  # every shipped recipe
  rpe check

  rpe check ./mine.yaml

  # all recipe keys with their defaults
  rpe check --keys
"""


def check(
    recipe: flags.MaybeRecipeName = None,
    keys: Annotated[bool, typer.Option("--keys", help="List every recipe key with its default.")] = False,
) -> None:
    """Validate a recipe, or every shipped recipe.

    All errors are reported at once, with file, line, key and remedy.
    """
    from rpecli.describe import listing

    if keys:
        flags.refuse([recipe] if recipe else [], "--keys lists the keys of all recipes")
        print_tables(listing.table(listing.keys()))
        return
    for name in catalog.names("recipes") if recipe is None else [recipe]:
        loaded, source = load_recipe(name, {})
        check_recipe(loaded, source)
        say(f"{name}: {len(loaded.configs())} runs, no errors")
