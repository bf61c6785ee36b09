"""The private local PostGIS cluster: what the service runs on when no database is named.

Read ``local`` for what it promises; ``errors`` for what it refuses.
"""

from app.db.cluster.errors import (
    AlreadyServed,
    ClusterError,
    CommandFailed,
    FolderUnusable,
    PostgresMissing,
    WrongVersion,
)
from app.db.cluster.local import LocalCluster, ServiceLock

__all__ = [
    "AlreadyServed",
    "ClusterError",
    "CommandFailed",
    "FolderUnusable",
    "LocalCluster",
    "PostgresMissing",
    "ServiceLock",
    "WrongVersion",
]
