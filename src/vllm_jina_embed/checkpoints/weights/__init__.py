"""Reading, changing and writing weights."""
