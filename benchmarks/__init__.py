"""The benchmarks: how fast, how early and how cheap, in figures that ``python -m benchmarks`` prints."""
