"""What a machine is moved by: one module a kind."""
