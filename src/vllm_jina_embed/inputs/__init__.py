"""Texts and images as callers hand them over: checked, read and opened."""
