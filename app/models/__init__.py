"""Tables and the field declarations they share with the wire."""
