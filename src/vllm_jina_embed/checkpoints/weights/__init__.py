"""Read, split and write weights."""
