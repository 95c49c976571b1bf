"""A station that changes while it runs: its file, its switches, its model; and who may."""
