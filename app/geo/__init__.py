"""Geometry without a house around it: values in, values out.

Nothing below does I/O, waits, reads a clock or knows a setting; numpy, shapely, pyproj and scipy
are all it leans on. Longitude comes before latitude, metres exist only inside a `Frame`.

Rooms, each built on those before it (a session that walks through them: docs/notebook.md):

places      arrays, frame, datum, crs, suspicion, tiling
rings       membership, outline, validity
points      coverage: tables, scene, units, candidates, reach, verdict, nearest, explained
seeing      view, gear, sectors, obstacles, envelope, visibility, sight
ground      area: layers, gaps, overlay
roads       network, snapping, bands, sides, crossings, chains, watched, matching
cordon      passage, gates, flow, failures
planning    placement
"""
