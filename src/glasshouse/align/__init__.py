"""Learn from preferences and rewards."""
