"""What travels over the wire: drafts in, views out."""
