"""What is kept of each verdict, so that it can be shown, searched and made again."""
