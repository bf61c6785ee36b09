"""Files on their way into the registry: opened, judged, applied in one transaction, told of.

``opening`` reads and plans, ``ready`` makes judged rows ready for COPY in a thread, ``applying`` writes
them batch by batch, ``pages`` keeps what became of each row, ``jobs`` runs it all beside the requests.
"""
