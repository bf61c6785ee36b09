"""Reaching PostgreSQL: the pool, the schema, and the private local cluster."""
