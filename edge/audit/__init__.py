"""The audit log: what was called, refused and confirmed, in a chain that shows where it was changed."""
