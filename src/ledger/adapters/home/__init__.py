"""What stands in a node's folder, and how folders, networks and keys are made. No process runs here."""
