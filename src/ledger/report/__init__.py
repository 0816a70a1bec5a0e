"""Reports that fall out of the facts: counts and lists over a ledger's records and state, nothing that anybody filled in."""
