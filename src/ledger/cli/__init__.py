"""The command line `ledger`: one module per noun, imported when its command runs."""
