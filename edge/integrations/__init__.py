"""Ways to and from what others made: their protocols, and no logic of ours."""
