"""The daemon: frames and commands from MQTT in, inspection results and function calls out."""
