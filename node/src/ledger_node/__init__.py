"""The node: one process that stores, orders or follows, cosigns and answers. Library code lives in `ledger`."""
