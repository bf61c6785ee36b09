"""Planning: what-if overlays, differences and placement of new devices."""
