"""Probes of a trained model: which keys its heads attend to, why, and what changes if its input moves to later positions."""
