"""A run directory: its files, safe writes, and the code and machine behind them."""
