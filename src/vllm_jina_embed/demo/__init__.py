"""The embedded demo: a tiny checkpoint, the corpus that it is shown on, and the recipe that made it."""
