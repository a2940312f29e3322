"""Leaderboards: several tasks side by side, averages, ranks, and published numbers beside them."""
