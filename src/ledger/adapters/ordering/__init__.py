"""A running node: its engines, signatures and certificates, and what it asks of other nodes."""
