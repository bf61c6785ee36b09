"""From the columns of a file to judged rows: mapping, reading, and every fault of every row."""
