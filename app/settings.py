"""Every setting of the service, read once from ``REGISTRY_*`` variables.

Nobody else reads the environment: ``create_app(Settings())`` hands the values down.
"""

import ipaddress
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """The settings table; ``docs/settings.md`` is held against it by a test."""

    model_config = SettingsConfigDict(env_prefix="REGISTRY_", extra="ignore")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=1, le=65535, description="TCP port to listen on.")
    workers: int = Field(1, ge=1, le=256, description="Worker processes sharing the port.")
    data_dir: Path = Field(Path(".data"), description="Folder of the private PostGIS cluster and the key secret.")
    database_url: SecretStr | None = Field(
        None,
        description="PostgreSQL with PostGIS to use instead of the private cluster, "
        "e.g. `postgresql://user:password@host/registry`.",
    )
    pool_size: int = Field(10, ge=1, le=200, description="Database connections kept per worker.")
    statement_timeout_s: float = Field(60.0, gt=0, description="Longest time one SQL statement may take, in seconds.")
    anonymous_role: Literal["none", "public", "reader", "analyst"] = Field(
        "none",
        description="What a caller without a key may do. Anything above `public` is refused "
        "unless the service listens on a loopback address.",
    )
    secret: SecretStr | None = Field(
        None,
        description="Secret that keys the stored hashes of API keys. Hosts sharing a database need "
        "the same one. Default: made once and kept in `DATA_DIR/secret`.",
    )
    max_body_mb: float = Field(64.0, gt=0, description="Largest request body, in MiB.")
    import_max_mb: float = Field(2048.0, gt=0, description="Largest file to import, in MiB.")
    import_keep_days: float = Field(
        30.0, ge=0, description="How long the rows of an import can be asked for after its end."
    )
    max_ring_vertices: int = Field(1_000_000, ge=4, description="Most vertices a ring boundary may have.")
    docs: bool = Field(
        True,
        description="Serve the interactive API description at `/docs`, without the internet.",
    )
    log_format: Literal["console", "json"] = Field("console", description="How log lines look.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe log lines to write."
    )

    @model_validator(mode="after")
    def _anonymous_rights_stay_local(self) -> "Settings":
        if self.anonymous_role in ("reader", "analyst") and not is_loopback(self.host):
            msg = (
                f"anonymous_role={self.anonymous_role!r} is allowed on a loopback address only, "
                f"and host is {self.host!r}: set REGISTRY_ANONYMOUS_ROLE=none (or public), "
                "or REGISTRY_HOST=127.0.0.1"
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
        """Folder of files on their way in."""
        return Path(self.data_dir) / "imports"


def is_loopback(host: str) -> bool:
    """Tell whether ``host`` can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def build_driver_url(url: str) -> str:
    """Return the URL as the driver reads it (libpq's parameters), whichever spelling was given."""
    scheme, separator, rest = url.partition("://")
    if not separator or not scheme.startswith("postgres"):
        msg = "REGISTRY_DATABASE_URL must look like postgresql://user:password@host/database"
        raise ValueError(msg)
    return f"postgresql://{rest}"
