"""Records of every kind: declarations, drafts, reading, writing, history."""
