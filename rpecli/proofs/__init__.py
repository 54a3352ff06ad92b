"""What must hold of encodings and tasks, as measures: tests apply them to what ships, `rpe check` to what is yours."""
