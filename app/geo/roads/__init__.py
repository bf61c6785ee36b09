"""The road network: nodes, chains, crossings, map matching."""
