"""Picture to verdict: the task, the inspector, close-ups, test-time augmentation, gate, calibration."""
