"""The kinds of tasks, one file each: what is asked of the model, and what one answer adds to the scores."""
