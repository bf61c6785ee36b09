"""Use cases: decide, ask the registry, call geo."""
