"""A model of the Hugging Face hub, by its name: download, export, check, clear up."""
