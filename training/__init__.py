"""The steps of ``python -m training.train``.

They need torch and transformers, which the images and the texts of the demo do not.
"""
