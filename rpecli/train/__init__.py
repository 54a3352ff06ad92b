"""Training: the loop, its state on disk, and runs stacked into one program."""
