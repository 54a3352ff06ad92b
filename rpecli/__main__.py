"""`python -m rpecli` is `rpe`."""

from rpecli.cli.app import main

main()
