"""Every column of the tables that a project can have before us, and how the service uses it.

The dated migrations create them, or add what is missing; service.migrate.adoption compares with this list what is there
already. A test holds it to what the migrations create.
"""

from typing import Literal, NamedTuple

# How the service writes a column of its rows: always, unless there is nothing to write, or counting on the default of a
# new row. The others it leaves alone.
Written = Literal["", "always", "or null", "by default"]

UUID = ("uuid",)
# The same to us; a varchar with a limit is not, for it refuses the long ones.
TEXT = ("text", "character varying")
TIME = ("timestamp with time zone",)
INTEGER = ("integer",)
BIGINT = ("bigint",)
NUMERIC = ("numeric",)
JSONB = ("jsonb",)
BYTES = ("bytea",)
STATUS = ("public.sync_job_status",)
ANY: tuple[str, ...] = ()  # only read, as text
COUNTS_OF_SOURCE = "20261124200000_create_source_counts"
STATUSES = ("pending", "in_progress", "completed", "failed", "cancelled")


class Column(NamedTuple):
    types: tuple[str, ...]
    written: Written = ""
    required: bool = False  # cannot be added to a table that lacks it
    added_by: str = ""  # the dated migration, where it is a later one than the table's
    description: str = ""  # for docs/data.md, where the table is shown


class Table(NamedTuple):
    # The dated migration that adopts it. Where it has been applied, only columns that a later one adds are looked at.
    adopted_by: str
    columns: dict[str, Column]
    gets_rows: bool = False  # from us


TABLES = {
    "agencies": Table(
        "20261123090100_create_agencies_and_users",
        {
            "id": Column(UUID, required=True),
            "name": Column(ANY),
            "ultravox_api_key_encrypted": Column(BYTES),
            "created_at": Column(TIME),
            "updated_at": Column(TIME),
        },
    ),
    "users": Table(
        "20261123090100_create_agencies_and_users",
        {"id": Column(UUID, required=True), "agency_id": Column(UUID), "role": Column(ANY)},
    ),
    "historical_sync_jobs": Table(
        "20261123090200_create_historical_sync_jobs",
        {
            "id": Column(UUID, "by default", required=True),
            "agency_id": Column(UUID, "always", required=True),
            "date_from": Column(TIME, "or null"),
            "date_to": Column(TIME, "always", required=True),
            "status": Column(STATUS, "by default", required=True),
            "total_calls": Column(INTEGER, "or null"),
            "processed_calls": Column(INTEGER, "by default"),
            "imported_calls": Column(INTEGER, "by default"),
            "skipped_calls": Column(INTEGER, "by default"),
            "failed_calls": Column(INTEGER, "by default"),
            "cursor": Column(TEXT),
            "error_message": Column(TEXT, "or null"),
            "last_error_at": Column(TIME, "or null"),
            "max_calls": Column(INTEGER),
            "created_at": Column(TIME, "by default"),
            "started_at": Column(TIME, "or null"),
            "completed_at": Column(TIME, "or null"),
            "last_activity_at": Column(TIME, "or null"),
            "requested_by": Column(UUID, "or null"),
            "attempt": Column(INTEGER, "by default"),
            "next_attempt_at": Column(TIME, "or null"),
            "fencing_token": Column(BIGINT, "by default"),
            "lease_expires_at": Column(TIME, "or null"),
            "consecutive_failures": Column(INTEGER, "by default"),
            "attempt_started_at": Column(TIME, "or null"),
            "attempt_processed_calls": Column(INTEGER, "by default"),
            "verification": Column(TEXT, "or null", added_by=COUNTS_OF_SOURCE),
            "missing_calls": Column(INTEGER, "or null", added_by=COUNTS_OF_SOURCE),
            "source_counted_at": Column(TIME, "or null", added_by=COUNTS_OF_SOURCE),
            "source_compared_at": Column(TIME, "or null", added_by=COUNTS_OF_SOURCE),
        },
        gets_rows=True,
    ),
    "calls": Table(
        "20261124000000_complete_existing_tables",
        {
            "agency_id": Column(
                UUID, "always", description="Whose call it is; names the row together with the next one"
            ),
            "ultravox_call_id": Column(TEXT, "always", description="Ultravox' `callId`; made up where there is none"),
            "source": Column(TEXT, "always", description="`historical_sync` here, `webhook` for a live feed"),
            "agent_id": Column(TEXT, "or null", description="Ultravox' `agentId`, else the `agentId` of its `agent`"),
            "created_at": Column(TIME, "always", description="When the call was created, by Ultravox"),
            "joined_at": Column(TIME, "or null", description="When somebody joined it; null where nobody did"),
            "ended_at": Column(TIME, "or null", description="When it ended"),
            "duration_seconds": Column(NUMERIC, description="From `joined_at` to `ended_at`, by the database"),
            "end_reason": Column(TEXT, "or null", description="Ultravox' `endReason`, such as `hangup` or `unjoined`"),
            "billing_status": Column(TEXT, "or null", description="Ultravox' `billingStatus`"),
            "billed_seconds": Column(NUMERIC, "or null", description="Ultravox' `billedDuration`, in seconds"),
            "medium": Column(TEXT, "or null", description="How the call was made, such as `twilio` or `webRtc`"),
            "short_summary": Column(TEXT, "or null", description="Ultravox' `shortSummary`"),
            "summary": Column(TEXT, "or null", description="Ultravox' `summary`"),
            "metadata": Column(JSONB, "always", description="Ultravox' `metadata`, as the agency has set it"),
            "data": Column(JSONB, "always", description="The whole call as Ultravox gave it, so that no field is lost"),
            "imported_at": Column(TIME, description="When the row was first stored"),
            "updated_at": Column(TIME, description="When the row last changed"),
            "fetched_at": Column(
                TIME,
                "always",
                description="When Ultravox was asked for it; what was fetched later wins",
            ),
        },
        gets_rows=True,
    ),
}
