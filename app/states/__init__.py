"""Device state reports."""
