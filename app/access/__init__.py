"""API keys, roles and the jurisdictions they are valid for."""
