"""Sweep files, in the format of W&B sweeps."""
