"""What cameras see: fields of view, obstacles, lines of sight."""
