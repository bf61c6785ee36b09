"""The `coverage-registry` command line."""
