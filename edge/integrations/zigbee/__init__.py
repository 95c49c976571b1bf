"""Zigbee2MQTT: what its devices can do, as tools of the station with the devices' own states."""
