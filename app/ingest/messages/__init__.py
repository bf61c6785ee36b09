"""Texts of errors and notes in Chinese and English."""
