"""Files as people send them, read as batches of text columns and shapes.

Promises one shape for every format (`app.formats.source`), memory that does not grow with the
number of rows, and a clear refusal for what is not a table or a map. Knows no SQL, no HTTP and no
record kinds: what a column means is decided elsewhere.
"""
