"""Readers of GIS formats."""
