"""How a moment is written inside PostgreSQL: in UTC and ending in Z, as the analysis writes it."""


def moment(column: str) -> str:
    """Return the SQL of a time as JSON; null stays null. The column is ours, never a request's."""
    return f"""(left(to_json({column} AT TIME ZONE 'UTC')::text, -1) || 'Z"')::json"""
