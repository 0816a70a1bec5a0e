"""B6 使用记录 · Records of use. Decree 809 Art. 26, 29.

The records of Art. 29 are counted on the use account, with the last day they cover.
"""

DAY = 86400000


def on_use_record(event, state, env):
    use = state["use"]
    return write("use", recorded=use["recorded"] + 1, covered=max(use["covered"], ms(event.body["covers"]) + DAY))
