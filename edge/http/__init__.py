"""The station over HTTP. Loaded where the station file has `[http] port`."""
