"""Rows of a user's own data: files, folders and data sets as records of text, each with the place that it comes from."""
