"""Looking at results: evaluation against analysts' picks, calibration, tuning."""
