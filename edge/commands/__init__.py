"""A command's way: taken over durably, put to the model, answered once."""
