"""Starting many runs: checks before anything starts, worker processes, and their progress."""
