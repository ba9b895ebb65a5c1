"""Where picks, detections and probability traces go."""
