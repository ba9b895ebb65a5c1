"""Real data from FDSN web services: named test scenarios, and the client that they go through."""
