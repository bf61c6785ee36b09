"""Readers: files of many formats as batches of text columns and shapes."""
