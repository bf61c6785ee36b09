"""The synthetic demo city: drawn from a fixed seed, loaded through the public services."""
