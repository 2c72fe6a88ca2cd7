"""Instants as the API writes them, which sort as text, and as its clients may write them."""

from datetime import UTC, date, datetime, time

from service.local.standin.answers import RefusedError

END = "\U0010ffff"  # sorts after every instant and every id


def bounds(query: dict[str, str]) -> tuple[str, str]:
    """The instants between which a query asks, both inclusive."""
    return _instant(query, "fromDate", time.min) or "", _instant(query, "toDate", time.max) or END


def stamp(moment: datetime) -> str:
    """UTC with microseconds and Z; a time without a zone is UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def _instant(query: dict[str, str], name: str, without_time: time) -> str | None:
    text = query.get(name, "")
    try:
        if len(text) == len("2026-01-31"):
            return stamp(datetime.combine(date.fromisoformat(text), without_time))
        return stamp(datetime.fromisoformat(text)) if text else None
    except (ValueError, OverflowError):
        raise RefusedError(400, {name: ["Enter a valid date/time."]}) from None
