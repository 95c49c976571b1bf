"""Sparkplug B: the station as an edge node, each camera as a device, for SCADA systems and historians."""
