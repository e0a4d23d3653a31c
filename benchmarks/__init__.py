"""Side-by-side measurements: `make bench` (quick) and `make bench-full`."""
