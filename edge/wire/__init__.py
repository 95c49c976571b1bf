"""What goes over MQTT and what waits for it: connection, topics, messages, store, outbox."""
