"""Measurements of how fast the tap is."""

"""Measurements of how fast the tap is."""
