"""The auditor: whether a ledger is what it says it is, recomputed from raw bytes.

`check` looks at blocks one by one (bytes, signatures) and may run in worker processes; `chain` joins them into one log;
`leaves` and `replay` compare what was recorded with what the machine decides; `certificates` and `trust` say who vouches
for it; `ledger` drives all of them and gives a `report`. No I/O, clock or randomness: sources and scratch are ports.
"""
