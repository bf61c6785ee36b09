"""Where roads cross rings, and which checkpoints guard the crossings."""
