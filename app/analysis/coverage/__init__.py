"""Coverage of control points, fields of view and covered area."""
