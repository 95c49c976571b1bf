"""Everything with a wire: cameras, and what the machine computes with."""
