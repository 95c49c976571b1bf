"""A verdict on its way to a machine: when it is due, what was really done, and what holds while there is none."""
