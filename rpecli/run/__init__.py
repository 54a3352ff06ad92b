"""A run directory: what it holds, how it is written safely, and which code and machine made it."""
