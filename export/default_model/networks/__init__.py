"""The networks that the recipe trains."""
