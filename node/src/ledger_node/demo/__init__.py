"""The demo: a city of four departments on one machine, run for real; see `main`."""
