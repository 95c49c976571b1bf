"""The station's page: what it sees and does, and a person's verdicts. Served beside `/v1`."""
