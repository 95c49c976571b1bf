"""A call's way: policy, limits, confirmation, and the binding that carries it out."""
