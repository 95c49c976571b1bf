"""New models: fetched into a folder of their own, verified, tried out, and made the current one in one step."""
