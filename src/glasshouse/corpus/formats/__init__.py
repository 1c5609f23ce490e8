"""Readers, one file a format: an opened file in, passages of text out, streaming."""
