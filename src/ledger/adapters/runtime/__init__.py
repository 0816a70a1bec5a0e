"""Where rules run: compiled from bundles, in this process, in a confined worker, or in another interpreter."""
