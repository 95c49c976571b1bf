"""The engine: sequences, the decode loop, the KV caches, and whose turn it is."""
