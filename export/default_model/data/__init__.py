"""What the recipe trains on, and how it is put before the model."""
