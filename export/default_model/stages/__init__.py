"""The stages of the training, in `train.py`'s order."""
