"""The parts of driver_ew: threads, files that outlive a process, and the account of a live run."""
