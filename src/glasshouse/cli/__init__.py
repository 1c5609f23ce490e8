"""`glass <verb>`: thin commands over the folders below."""
