"""Coverage of control points and area, and placement of devices."""
