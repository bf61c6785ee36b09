"""The local PostGIS cluster that the service runs when no database URL is set."""

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
