"""Tools and phrases made from a file of the COVESA Vehicle Signal Specification."""
