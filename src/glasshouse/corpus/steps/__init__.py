"""Cleaning steps, one file each: a pure function over a batch of documents."""
