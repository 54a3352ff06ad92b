"""`python -m rpecli` is `rpe`."""

from rpecli.cli import main

main()
