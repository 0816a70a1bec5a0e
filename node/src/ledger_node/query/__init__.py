"""Questions about the ledger, answered from one certified state each; functions over snapshots, without HTTP."""
