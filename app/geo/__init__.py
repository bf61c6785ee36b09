"""The engine: a pure library for geometry, coverage, road networks and cordons.

Arrays and shapes go in, arrays and shapes come out. Nothing here does I/O, waits, reads a clock or knows a setting;
the only libraries are numpy, shapely, pyproj and scipy. Longitude comes before latitude; metres exist only inside a
`LocalProjection`.

The packages, each with its modules. `docs/notebook.md` is a session that uses them.

(all)       arrays
projection  local_projection, reference_systems, datum, tile_matrix
rings       membership, outline, validity, closeness, ring_partition
visibility  field_of_view, reach, sectors, obstacles, building_shadows, radial_visibility, line_of_sight
roads       network, snapping, chains, crossings, map_matching
coverage    tables, context, candidates, status, assessment, area, overlap, placement
cuts        flow_graph, min_cut, failures, cordon
"""
