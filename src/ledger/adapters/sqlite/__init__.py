"""One ledger in one SQLite file: `store` writes it, `reader` reads it, and neither is believed without its hashes."""
