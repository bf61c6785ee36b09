"""HTTP: take, call, return."""
