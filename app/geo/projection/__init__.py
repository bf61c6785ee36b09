"""Projections, coordinate reference systems, datums and tile matrices."""
