"""A ledger as a source: exports, data directories and nodes, read for audits, reports and simulations."""
