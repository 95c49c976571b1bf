"""What the default model scores, beside simple methods; its card."""
