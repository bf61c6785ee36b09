"""`coverage-registry`: serve, migrate, demo, import, export, keys, healthcheck, version.

Only the command line starts and stops the private cluster; the application always gets the URL of a database.
"""

import asyncio
import json
import os
import signal
import sys
import urllib.error
import urllib.request
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Column, Table
from sqlalchemy.exc import DBAPIError

from app import __version__, server
from app.access import keys
from app.access.roles import OPERATOR, ROLES, Role
from app.cli.common import DatabaseUnusable, console, database_url, exit_with_error, format_cause, open_database
from app.cli.export_command import export_file
from app.cli.import_command import import_file
from app.db import schema
from app.db.cluster import ClusterError, ServiceLock
from app.db.engine import Database, WriteContext
from app.errors import RegistryError
from app.settings import Settings, is_loopback

cli = typer.Typer(help="The checkpoint coverage registry.", no_args_is_help=True, add_completion=False)
keys_cli = typer.Typer(help="API keys.", no_args_is_help=True)
cli.add_typer(keys_cli, name="keys")
cli.command("import")(import_file)
cli.command("export")(export_file)
DEMO_JURISDICTION: Final = "410800"
_ERRORS: Final = (
    *(ClusterError, schema.SchemaMismatch, RegistryError, ValueError, OSError),
    *(DBAPIError, DatabaseUnusable, server.ListenError),
)


def main() -> None:
    """Run the command line; an expected error is one message and exit code 1."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        cli()
    except _ERRORS as error:
        exit_with_error(format_error(error))


def format_error(error: Exception) -> str:
    """Return the message of an expected error."""
    if isinstance(error, ValidationError):
        return "; ".join(
            ": ".join([*(f"REGISTRY_{name}".upper() for name in details["loc"]), details["msg"]])
            for details in error.errors()
        ).replace("Value error, ", "")
    if isinstance(error, DBAPIError):
        return f"The database reports an error: {format_cause(error)}"
    return str(error)


@cli.command()
def serve(
    demo: Annotated[
        bool,
        typer.Option(help="Load the demo city into an empty registry; anonymous callers get the role analyst."),
    ] = False,
) -> None:
    """Serve the API until it is stopped."""
    settings = Settings()
    if demo and is_loopback(settings.host) and settings.anonymous_role == "none":
        settings = settings.model_copy(update={"anonymous_role": "analyst"})
    server.exit_on_signals()
    with (
        server.open_listener(settings.host, settings.port) as claimed,
        ServiceLock(settings.data_dir),
        database_url(settings) as url,
    ):
        admin_key = asyncio.run(prepare_registry(settings, url, demo=demo))
        print_addresses(settings, admin_key, demo=demo)
        export_settings(settings, url)
        server.run_server(settings, claimed)


async def prepare_registry(settings: Settings, url: str, *, demo: bool) -> str | None:
    """Migrate, load the demo city into an empty registry, create the first admin key; return that key."""
    async with open_database(url) as database:
        await schema.migrate(database)
        if demo:
            await _load_demo_city(database)
        async with database.open_transaction(WriteContext(OPERATOR.name)) as connection:
            if any(key["role"] == "admin" for key in await keys.load_keys(connection)):
                return None
            _, key = await keys.create_key(
                connection,
                read_secret(settings),
                label="first admin key",
                role="admin",
                jurisdictions=None,
                expires_at=None,
            )
            return key


async def _load_demo_city(database: Database) -> bool:
    """Load the demo city if the registry is empty; return whether it was."""
    from app.demo.load import is_empty, load_demo_city  # imports NumPy, and few commands need it

    if not await is_empty(database):
        return False
    with console.status("Loading the demo city ..."):
        await load_demo_city(database, OPERATOR)
    return True


def read_secret(settings: Settings) -> bytes:
    """Return the secret of the service."""
    configured = settings.secret.get_secret_value() if settings.secret else None
    return keys.load_service_secret(configured, settings.data_dir)


def print_addresses(settings: Settings, admin_key: str | None, *, demo: bool) -> None:
    """Print the addresses of the service, and the admin key if it is new."""
    base = f"http://{format_host(settings.host)}:{settings.port}"
    summary = f"{base}/v1/jurisdictions/{DEMO_JURISDICTION}/coverage" if demo else f"{base}/v1/jurisdictions"
    key = admin_key or f"created before; create another one with: {format_key_command(settings)}"
    console.print(f"Checkpoint coverage registry {__version__} on {base}", soft_wrap=True)
    console.print(f"  Coverage   {summary}", soft_wrap=True)
    console.print(f"  API        {base}/docs", soft_wrap=True)
    console.print(f"  Health     {base}/readyz", soft_wrap=True)
    console.print(f"  Admin key  {key}{' (shown once)' if admin_key else ''}", soft_wrap=True)


def format_key_command(settings: Settings) -> str:
    """Return the command that creates an admin key for this registry."""
    command = f"{sys.argv[0]} keys create --role admin"
    if settings.database_url is not None:
        return command
    return f"REGISTRY_DATA_DIR={settings.data_dir} {command}"


def format_host(host: str) -> str:
    """Return a host as it is written in a URL."""
    return f"[{host}]" if ":" in host else host


def export_settings(settings: Settings, url: str) -> None:
    """Set the environment of the worker processes."""
    os.environ["REGISTRY_DATABASE_URL"] = url
    os.environ["REGISTRY_DATA_DIR"] = str(Path(settings.data_dir).resolve())
    os.environ["REGISTRY_ANONYMOUS_ROLE"] = settings.anonymous_role


@cli.command()
def migrate() -> None:
    """Migrate the database to the schema of this version."""
    settings = Settings()

    async def run(url: str) -> str:
        async with open_database(url) as database:
            return await schema.migrate(database)

    with database_url(settings) as url:
        console.print(f"The database is at schema {asyncio.run(run(url))}.")


@cli.command()
def demo() -> None:
    """Load the synthetic demo city into an empty registry."""
    settings = Settings()

    async def run(url: str) -> bool:
        async with open_database(url) as database:
            await schema.migrate(database)
            return await _load_demo_city(database)

    with database_url(settings) as url:
        if not asyncio.run(run(url)):
            exit_with_error("The registry is not empty. Load the demo city into an empty registry.")
    console.print("The demo city is loaded.")


@cli.command()
def healthcheck(
    url: Annotated[str | None, typer.Option(help="Address of the service.")] = None,
) -> None:
    """Exit with 0 if the service is ready, else with 1; for containers and CI."""
    settings = Settings()
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    target = f"{url or f'http://{format_host(host)}:{settings.port}'}/readyz"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(target, timeout=5) as response:
            console.print(json.load(response)["status"])
    except urllib.error.HTTPError as error:
        exit_with_error(f"not ready: {format_failed_checks(error)}")
    except (OSError, ValueError) as error:
        exit_with_error(f"not ready: {target}: {getattr(error, 'reason', error)}")


def format_failed_checks(error: urllib.error.HTTPError) -> str:
    """Return the failed checks of a `/readyz` response."""
    try:
        checks = json.load(error)["checks"]
    except (ValueError, KeyError, TypeError):
        return str(error)
    return ", ".join(f"{name} ({check['detail']})" for name, check in checks.items() if not check["ok"])


@cli.command()
def version() -> None:
    """Print the version."""
    sys.stdout.write(f"coverage-registry {__version__} (schema {schema.head()})\n")


@keys_cli.command("create")
def create_key(
    role: Annotated[str, typer.Option(help=f"One of {', '.join(ROLES)}.")],
    label: Annotated[str, typer.Option(help="Program that uses the key.")] = "created at the command line",
    jurisdiction: Annotated[
        list[str] | None,
        typer.Option(help="Jurisdiction of the key; repeatable. Default: all."),
    ] = None,
) -> None:
    """Create a key and print it once."""
    known_role: Role | None = next((name for name in ROLES if name == role), None)
    if known_role is None:
        exit_with_error(f"Unknown role {role!r}. Roles: {', '.join(ROLES)}.")
    settings = Settings()

    async def run(url: str, role: Role) -> str:
        async with open_database(url) as database:
            await schema.migrate(database)
            async with database.open_transaction(WriteContext(OPERATOR.name)) as connection:
                _, key = await keys.create_key(
                    connection,
                    read_secret(settings),
                    label=label,
                    role=role,
                    jurisdictions=jurisdiction or None,
                    expires_at=None,
                )
                return key

    with database_url(settings, create=False) as url:
        sys.stdout.write(asyncio.run(run(url, known_role)) + "\n")


@keys_cli.command("list")
def list_keys() -> None:
    """List keys, without their secrets."""
    settings = Settings()

    async def run(url: str) -> list[dict[str, Any]]:
        async with open_database(url) as database, database.open_connection() as connection:
            return await keys.load_keys(connection)

    with database_url(settings, create=False) as url:
        table = Table(Column("id", no_wrap=True, min_width=12))
        for name in ("role", "jurisdictions", "label", "last used", "revoked"):
            table.add_column(name, overflow="fold")
        for key in asyncio.run(run(url)):
            scope = ", ".join(key["jurisdictions"]) if key["jurisdictions"] else "all"
            times = (format_minute(key[name]) for name in ("last_used_at", "revoked_at"))
            table.add_row(key["id"], key["role"], scope, key["label"], *times)
        Console().print(table)


def format_minute(instant: datetime | None) -> str:
    """Return an instant to the minute, "" for None."""
    return "" if instant is None else f"{instant:%Y-%m-%d %H:%M}"


@keys_cli.command("revoke")
def revoke_key(key_id: Annotated[str, typer.Argument(help="Id of the key.")]) -> None:
    """Revoke a key."""
    settings = Settings()

    async def run(url: str) -> None:
        async with (
            open_database(url) as database,
            database.open_transaction(WriteContext(OPERATOR.name)) as connection,
        ):
            await keys.revoke_key(connection, key_id)

    with database_url(settings, create=False) as url:
        asyncio.run(run(url))
    console.print(f"Revoked {key_id}.")


if __name__ == "__main__":
    main()
