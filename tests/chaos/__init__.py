"""`make chaos`: the real daemon as a process, real brokers, and every fault that a factory has; `run.py` begins."""
