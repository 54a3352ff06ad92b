"""The files that `rpe new` writes: an encoding and a task that run as they are. Only the name of their class is replaced."""
