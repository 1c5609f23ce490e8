"""Finders of private data, one file a kind: text in, spans out.  Precision first: a corpus is mostly not private."""
