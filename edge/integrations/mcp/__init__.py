"""The Model Context Protocol: tools of other programs for the model, and `inspect` and `ask` for other programs."""
