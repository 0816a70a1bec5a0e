"""The one pure transition: a block's inputs and the state before it give its leaves and the state after it.

`admit` sorts events into new, duplicate and conflicting; `plan` lists what the rules will read; the rule runtime decides;
`decide` pairs its outcomes with the events; `seal` appends leaves, advances streams and map and writes the header.
The sequencer, followers, crash recovery, CometBFT and the auditor all run exactly this. No I/O, clock or randomness.
"""
