"""Which calls of an agency have arrived, day by day, beside how many Ultravox counts."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Literal, NamedTuple

from pydantic import ConfigDict, Field

from service.jobs.job import Count

DayState = Literal["complete", "missing", "unverified"]
EXACT = ConfigDict(extra="forbid")


# The values are those of historical_sync.coverage(), which decides the state.
@dataclass(frozen=True)
class CoveredDay:
    """A day in UTC."""

    __pydantic_config__ = EXACT

    date: date
    stored: Annotated[Count, Field(description="Rows in `calls`.")]
    source: Annotated[
        Count | None, Field(description="What Ultravox counted when it was last asked; null where it never was.")
    ]
    state: Annotated[
        DayState,
        Field(
            description="`complete`: as many stored as counted, or more; `missing`: fewer; `unverified`: not counted."
        ),
    ]


@dataclass(frozen=True)
class CoverageTotals:
    """The sums of the days. What is not counted of a day is in none but `stored`."""

    __pydantic_config__ = EXACT

    stored: Count
    source: Count
    missing: Annotated[Count, Field(description="How many fewer are stored, on the days that lack some.")]


@dataclass(frozen=True)
class Coverage:
    """A range of days with an entry for each."""

    __pydantic_config__ = EXACT

    date_from: date
    date_to: Annotated[date, Field(description="The last day, which belongs to it.")]
    days: list[CoveredDay]
    totals: CoverageTotals
    checked_at: Annotated[datetime | None, Field(description="When Ultravox was last asked about any of the days.")]


class DayRow(NamedTuple):
    """A row of historical_sync.coverage()."""

    day: date
    stored: int
    source: int | None
    state: DayState
    checked_at: datetime | None


def coverage_of(rows: list[DayRow]) -> Coverage:
    """Sum up the rows of a range, one at least, the first day first."""
    counted = [(row.stored, row.source) for row in rows if row.source is not None]
    totals = CoverageTotals(
        stored=sum(row.stored for row in rows),
        source=sum(source for _, source in counted),
        missing=sum(max(0, source - stored) for stored, source in counted),
    )
    days = [CoveredDay(row.day, row.stored, row.source, row.state) for row in rows]
    checked_at = max((row.checked_at for row in rows if row.checked_at), default=None)
    return Coverage(rows[0].day, rows[-1].day, days, totals, checked_at)
