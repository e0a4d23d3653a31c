"""A local web page to try a model: drop texts and images or open a corpus, search, and see why something was found."""
