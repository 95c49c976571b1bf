"""Home Assistant: a station, its cameras and tools announced by MQTT discovery, one retained message a device."""
