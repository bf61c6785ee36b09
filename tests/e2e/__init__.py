"""The service as an operator meets it: real processes, real signals, a real port."""
