"""The checkpoint coverage registry: equipment, places, rings, and what they leave uncovered."""

__version__ = "0.2.0"
