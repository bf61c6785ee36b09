"""Readers of spreadsheets and of tables saved as web pages."""
