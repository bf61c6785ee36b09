"""Library: files to validated rows, and rows to files. No SQL, no HTTP."""
