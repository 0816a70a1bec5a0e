"""Who may read through this node, and the record of what was read (rule C4; Decree 809, Art. 29)."""
