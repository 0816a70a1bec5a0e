"""Other append-only stores, built from their sources and measured in the same run as the ledger; see `run`."""
