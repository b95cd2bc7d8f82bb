"""How fast, how early and how cheap: figures anyone can print with ``python -m benchmarks``."""
