"""Values: text of a cell to the value of a field."""
