"""`coverage-registry`: serve, migrate, demo, import, export, keys, healthcheck, version.

The command line is the one place that starts and stops the private cluster; the application itself
is always handed a database. What commands share stands in ``app.cli.common``.
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
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Column, Table
from sqlalchemy.exc import DBAPIError

from app import __version__, server
from app.access import keys
from app.access.roles import OPERATOR, ROLES, Role
from app.cli.common import DatabaseUnusable, cause, console, database_url, give_up, opened
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
DEMO = "410800"


_REFUSALS = (
    *(ClusterError, schema.SchemaMismatch, RegistryError, ValueError, OSError),
    *(DBAPIError, DatabaseUnusable, server.CannotListen),
)


def main() -> None:
    """Run the command line; every refusal is one clear message."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        cli()
    except _REFUSALS as error:
        give_up(_message(error))


def _message(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(
            ": ".join([*(f"REGISTRY_{name}".upper() for name in found["loc"]), found["msg"]])
            for found in error.errors()
        ).replace("Value error, ", "")
    if isinstance(error, DBAPIError):
        return f"the database refuses: {cause(error)}"
    return str(error)


@cli.command()
def serve(
    demo: Annotated[
        bool,
        typer.Option(help="Load the demo city into an empty registry; anonymous callers may analyse."),
    ] = False,
) -> None:
    """Serve the API until stopped."""
    settings = Settings()
    if demo and is_loopback(settings.host) and settings.anonymous_role == "none":
        settings = settings.model_copy(update={"anonymous_role": "analyst"})
    server.end_on_signals()
    with (
        server.claim(settings.host, settings.port) as claimed,
        ServiceLock(settings.data_dir),
        database_url(settings) as url,
    ):
        admin_key = asyncio.run(_prepare(settings, url, demo=demo))
        _greet(settings, admin_key, demo=demo)
        _hand_down(settings, url)
        server.run(settings, claimed)


async def _prepare(settings: Settings, url: str, *, demo: bool) -> str | None:
    """Migrate, load the demo into an empty registry, and make the first admin key."""
    async with opened(url) as database:
        await schema.migrate(database)
        if demo:
            await _load_demo(database, only_when_empty=True)
        async with database.writing(WriteContext(OPERATOR.name)) as connection:
            if any(key["role"] == "admin" for key in await keys.listed(connection)):
                return None
            _, key = await keys.create(
                connection, _secret(settings), label="first admin key", role="admin",
                jurisdictions=None, expires_at=None,
            )  # fmt: skip
            return key


async def _load_demo(database: Database, *, only_when_empty: bool) -> bool:
    from app.demo.load import is_empty, load  # numpy-heavy, rarely needed

    if only_when_empty and not await is_empty(database):
        return False
    with console.status("Loading the demo city ..."):
        await load(database, OPERATOR)
    return True


def _secret(settings: Settings) -> bytes:
    configured = settings.secret.get_secret_value() if settings.secret else None
    return keys.service_secret(configured, settings.data_dir)


def _greet(settings: Settings, admin_key: str | None, *, demo: bool) -> None:
    base = f"http://{_in_url(settings.host)}:{settings.port}"
    summary = f"{base}/v1/jurisdictions/{DEMO}/coverage" if demo else f"{base}/v1/jurisdictions"
    shown = admin_key or f"made earlier; another one: {_another_key(settings)}"
    console.print(f"Checkpoint coverage registry {__version__} on {base}", soft_wrap=True)
    console.print(f"  Coverage   {summary}", soft_wrap=True)
    console.print(f"  API        {base}/docs", soft_wrap=True)
    console.print(f"  Health     {base}/readyz", soft_wrap=True)
    console.print(f"  Admin key  {shown}{' (shown once)' if admin_key else ''}", soft_wrap=True)


def _another_key(settings: Settings) -> str:
    """Return the command that makes an admin key for this very registry."""
    command = f"{sys.argv[0]} keys create --role admin"
    if settings.database_url is not None:
        return command
    return f"REGISTRY_DATA_DIR={settings.data_dir} {command}"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _hand_down(settings: Settings, url: str) -> None:
    """Pass what was decided here to the worker processes, which read the environment."""
    os.environ["REGISTRY_DATABASE_URL"] = url
    os.environ["REGISTRY_DATA_DIR"] = str(Path(settings.data_dir).resolve())
    os.environ["REGISTRY_ANONYMOUS_ROLE"] = settings.anonymous_role


@cli.command()
def migrate() -> None:
    """Bring the database to this version's schema."""
    settings = Settings()

    async def run(url: str) -> str:
        async with opened(url) as database:
            return await schema.migrate(database)

    with database_url(settings) as url:
        console.print(f"The database is at schema {asyncio.run(run(url))}.")


@cli.command()
def demo() -> None:
    """Load the synthetic demo city; refuses a registry that holds something already."""
    settings = Settings()

    async def run(url: str) -> bool:
        async with opened(url) as database:
            await schema.migrate(database)
            return await _load_demo(database, only_when_empty=True)

    with database_url(settings) as url:
        if not asyncio.run(run(url)):
            give_up("the registry is not empty; the demo city is loaded into an empty one only")
    console.print("The demo city is loaded.")


@cli.command()
def healthcheck(
    url: Annotated[str | None, typer.Option(help="Address of the service.")] = None,
) -> None:
    """Exit 0 when the service is ready, 1 when it is not; for containers and CI."""
    settings = Settings()
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    target = f"{url or f'http://{_in_url(host)}:{settings.port}'}/readyz"
    straight = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with straight.open(target, timeout=5) as answer:
            console.print(json.load(answer)["status"])
    except urllib.error.HTTPError as refusal:
        give_up(f"not ready: {_failed_checks(refusal)}")
    except (OSError, ValueError) as error:
        give_up(f"not ready: {target}: {getattr(error, 'reason', error)}")


def _failed_checks(refusal: urllib.error.HTTPError) -> str:
    try:
        checks = json.load(refusal)["checks"]
    except (ValueError, KeyError, TypeError):
        return str(refusal)
    return ", ".join(f"{name} ({c['detail']})" for name, c in checks.items() if not c["ok"])


@cli.command()
def version() -> None:
    """Print the version."""
    sys.stdout.write(f"coverage-registry {__version__} (schema {schema.head()})\n")


@keys_cli.command("create")
def create_key(
    role: Annotated[str, typer.Option(help=f"One of {', '.join(ROLES)}.")],
    label: Annotated[str, typer.Option(help="What program it is for.")] = "made at the command line",
    jurisdiction: Annotated[
        list[str] | None,
        typer.Option(help="Where it counts; repeat for several. Default: everywhere."),
    ] = None,
) -> None:
    """Make a key and print it, once."""
    chosen: Role | None = next((known for known in ROLES if known == role), None)
    if chosen is None:
        give_up(f"there is no role {role!r}; the roles are {', '.join(ROLES)}")
    settings = Settings()

    async def run(url: str, granted: Role) -> str:
        async with opened(url) as database:
            await schema.migrate(database)
            async with database.writing(WriteContext(OPERATOR.name)) as connection:
                _, key = await keys.create(
                    connection, _secret(settings), label=label, role=granted,
                    jurisdictions=jurisdiction or None, expires_at=None,
                )  # fmt: skip
                return key

    with database_url(settings, make=False) as url:
        sys.stdout.write(asyncio.run(run(url, chosen)) + "\n")


@keys_cli.command("list")
def list_keys() -> None:
    """List keys, without their secrets."""
    settings = Settings()

    async def run(url: str) -> list[dict[str, Any]]:
        async with opened(url) as database, database.reading() as connection:
            return await keys.listed(connection)

    with database_url(settings, make=False) as url:
        table = Table(Column("id", no_wrap=True, min_width=12))
        for name in ("role", "jurisdictions", "label", "last used", "revoked"):
            table.add_column(name, overflow="fold")
        for key in asyncio.run(run(url)):
            scope = ", ".join(key["jurisdictions"]) if key["jurisdictions"] else "all"
            times = (_minute(key[name]) for name in ("last_used_at", "revoked_at"))
            table.add_row(key["id"], key["role"], scope, key["label"], *times)
        Console().print(table)


def _minute(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d %H:%M}"


@keys_cli.command("revoke")
def revoke_key(key_id: Annotated[str, typer.Argument(help="Id of the key.")]) -> None:
    """Revoke a key."""
    settings = Settings()

    async def run(url: str) -> None:
        async with (
            opened(url) as database,
            database.writing(WriteContext(OPERATOR.name)) as connection,
        ):
            await keys.revoke(connection, key_id)

    with database_url(settings, make=False) as url:
        asyncio.run(run(url))
    console.print(f"Revoked {key_id}.")


if __name__ == "__main__":
    main()
