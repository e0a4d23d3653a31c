"""The demo: a tiny embedded checkpoint, a corpus to show it on, and the command that does."""
