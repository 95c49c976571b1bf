"""Tokens and text: the tokenizer, and the calls in what a model writes."""
