"""When PostgreSQL looks at the values of a statement: each time, or until it knows the statement."""

from app.db.engine import Database

STATEMENT = "SELECT count(*) FROM camera WHERE geometry && ST_MakeEnvelope($1, $2, $3, $4, 4326)"
BOX = (113.0, 35.0, 114.0, 36.0)


async def _plans(database: Database) -> tuple[int, int]:
    """Return how often the statement was planned without and with a look at its values."""
    told = await database.fetch(
        "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement = $1",
        STATEMENT,
    )
    return told[0][0], told[0][1]


async def test_a_statement_is_planned_anew_where_its_values_decide(database_url: str) -> None:
    database = Database(database_url, pool_size=1)
    try:
        for _ in range(10):
            await database.fetch(STATEMENT, *BOX, replan=True)
            await database.fetch_with_timeout(5, STATEMENT, *BOX, replan=True)
        assert await _plans(database) == (0, 20)
        for _ in range(10):
            await database.fetch(STATEMENT, *BOX)
            await database.fetch_with_timeout(5, STATEMENT, *BOX)
        without, _ = await _plans(database)
        assert without > 0, "the connection still plans each time"
        await database.fetch(STATEMENT, *BOX, replan=True)
        assert (await _plans(database))[0] == without
    finally:
        await database.close()
