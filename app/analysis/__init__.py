"""Analysis of a jurisdiction: snapshot of the registry, engine input, results, cache."""
