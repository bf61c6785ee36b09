"""The checkpoint coverage registry: equipment, places, rings, and what they leave uncovered."""

__version__ = "0.1.0"
