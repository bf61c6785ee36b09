"""Readers of JSON and GeoJSON."""
