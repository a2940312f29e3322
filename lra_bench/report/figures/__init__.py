"""Figures: what is drawn of which data, and how it is written."""
