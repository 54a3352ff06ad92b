"""The tables of a report, one topic per file."""
