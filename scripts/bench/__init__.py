"""Measurements of the whole product, run by `./dev bench`; figures go to docs/BENCHMARKS.md."""
