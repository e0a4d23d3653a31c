"""The command ``doctor``: what is installed here, what is wrong with it, and what to do about that."""
