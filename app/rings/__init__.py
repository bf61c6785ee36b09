"""Ring boundaries of a jurisdiction, and which zone a location belongs to."""
