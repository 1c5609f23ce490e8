"""Recipe to resolved recipe to stages to run directory: the composition root, known by none below."""
