"""Settings of the service, read once from ``REGISTRY_*`` environment variables.

No other module reads the environment: ``create_app(Settings())`` passes the values on.
"""

import ipaddress
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """All settings; a test checks ``docs/settings.md`` against them."""

    model_config = SettingsConfigDict(env_prefix="REGISTRY_", extra="ignore")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=1, le=65535, description="TCP port to listen on.")
    workers: int = Field(1, ge=1, le=256, description="Worker processes that share the port.")
    data_dir: Path = Field(
        Path(".data"), description="Folder of the local PostGIS cluster and of the secret for key hashes."
    )
    database_url: SecretStr | None = Field(
        None,
        description="PostgreSQL with PostGIS to use instead of the local cluster, "
        "e.g. `postgresql://user:password@host/registry`.",
    )
    pool_size: int = Field(10, ge=1, le=200, description="Database connections per worker, in each of two pools.")
    statement_timeout_s: float = Field(60.0, gt=0, description="Time limit of one SQL statement, in seconds.")
    anonymous_role: Literal["none", "public", "reader", "analyst"] = Field(
        "none",
        description="Role of a client without a key. Roles above `public` are allowed only on a loopback address.",
    )
    secret: SecretStr | None = Field(
        None,
        description="Secret of the stored hashes of API keys. Hosts that share a database need the same one. "
        "Default: created once in `DATA_DIR/secret`.",
    )
    max_body_mb: float = Field(64.0, gt=0, description="Largest request body, in MiB.")
    import_max_mb: float = Field(2048.0, gt=0, description="Largest file to import, in MiB.")
    import_keep_days: float = Field(
        30.0, ge=0, description="Days after which the rows of a finished import are deleted."
    )
    max_ring_vertices: int = Field(1_000_000, ge=4, description="Maximum number of vertices of a ring boundary.")
    docs: bool = Field(
        True,
        description="Serve the interactive API description at `/docs`; it works without the internet.",
    )
    log_format: Literal["console", "json"] = Field("console", description="Format of log lines.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level of the log lines that are written."
    )

    @model_validator(mode="after")
    def _check_anonymous_role(self) -> "Settings":
        if self.anonymous_role in ("reader", "analyst") and not is_loopback(self.host):
            msg = (
                f"anonymous_role={self.anonymous_role!r} is allowed only on a loopback address, "
                f"and host is {self.host!r}. Set REGISTRY_ANONYMOUS_ROLE=none (or public), or REGISTRY_HOST=127.0.0.1"
            )
            raise ValueError(msg)
        return self

    @property
    def max_body_bytes(self) -> int:
        """Largest body in bytes."""
        return int(self.max_body_mb * 1024 * 1024)

    @property
    def import_max_bytes(self) -> int:
        """Largest file in bytes."""
        return int(self.import_max_mb * 1024 * 1024)

    @property
    def import_dir(self) -> Path:
        """Folder of uploads."""
        return Path(self.data_dir) / "imports"


def is_loopback(host: str) -> bool:
    """Return whether ``host`` is an address that only this machine can reach."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def build_driver_url(url: str) -> str:
    """Return the URL for the driver; raise ValueError if it is not the URL of a PostgreSQL database."""
    scheme, separator, address = url.partition("://")
    if not separator or not scheme.startswith("postgres"):
        msg = "REGISTRY_DATABASE_URL is not valid. Write it as postgresql://user:password@host/database"
        raise ValueError(msg)
    return f"postgresql://{address}"
