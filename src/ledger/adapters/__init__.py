"""The only place that touches the world: disks, sockets, processes. It imports the ports; only wiring imports it."""
