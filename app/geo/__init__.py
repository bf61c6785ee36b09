"""Geometry without a house around it: values in, values out.

Nothing below does I/O, waits, reads a clock or knows a setting; numpy, shapely, pyproj and scipy
are all it leans on. Longitude comes before latitude, metres exist only inside a `Frame`.
"""
