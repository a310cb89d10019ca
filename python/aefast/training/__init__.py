"""Training: the loop over epochs, callbacks, schedules, checkpoints and calibration."""
