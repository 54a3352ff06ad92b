"""The `rpe` command: one command per file; files that begin with `_` are what several commands share."""
