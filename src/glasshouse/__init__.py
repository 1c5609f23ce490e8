"""Glasshouse: grow your own language model, and see inside it."""

__version__ = "0.1.0"
