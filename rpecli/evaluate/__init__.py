"""Evaluation of trained runs on fixed sets of examples at any length."""
