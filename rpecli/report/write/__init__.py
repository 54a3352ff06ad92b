"""The files of a report: Markdown, HTML, CSV and JSON."""
