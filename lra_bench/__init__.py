"""lra-bench: compare long-range sequence models under one protocol."""

__version__ = "0.1.0"
