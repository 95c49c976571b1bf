"""The daemon: configuration, MQTT, topics, wire messages, frame and command pipelines, outbox, command line."""

__version__ = "0.1.0"
