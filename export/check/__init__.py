"""Against what an export is checked: float64 mathematics, and random weights of true shapes."""
