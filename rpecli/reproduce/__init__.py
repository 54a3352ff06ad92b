"""Published numbers beside runs of the same protocol: `rpe reproduce`."""
