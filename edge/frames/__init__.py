"""A frame's way: from MQTT or a camera through the mailbox and the engine to result, state and evidence."""
