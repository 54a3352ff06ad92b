"""The figures of a report, one topic per file."""
