"""Commands that no model here was trained on, in four languages, and how well a bundle answers them."""
