"""Writers: rows to files of many formats."""
