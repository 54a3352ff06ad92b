"""Recipes: the schema, the YAML they are read from, and how lengths and seeds are written."""
