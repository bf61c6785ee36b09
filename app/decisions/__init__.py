"""Decisions kept with a history: waivers and scenarios."""
