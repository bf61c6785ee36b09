"""Import jobs: a file is read, validated, staged and written in one transaction."""
