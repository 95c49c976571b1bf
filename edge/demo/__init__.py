"""`lineside demo`: a station, an embedded broker, and a client that shows what comes over it."""
