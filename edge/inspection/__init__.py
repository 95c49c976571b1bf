"""What each camera looks for, and what was learnt and calibrated for it."""
