"""The least that storing calls can cost: their pages, in the database already, in one plain `insert … select`."""

import time

import psycopg

INSERT = """
    insert into public.calls (
        agency_id, ultravox_call_id, source, agent_id, created_at, joined_at, ended_at, end_reason, billing_status,
        billed_seconds, medium, short_summary, summary, metadata, data
    )
    select %s, call ->> 'callId', 'historical_sync', call ->> 'agentId', (call ->> 'created')::timestamptz,
        (call ->> 'joined')::timestamptz, (call ->> 'ended')::timestamptz, call ->> 'endReason',
        call ->> 'billingStatus', rtrim(call ->> 'billedDuration', 's')::numeric,
        (select min(name) from jsonb_object_keys(call -> 'medium') as names (name)), call ->> 'shortSummary',
        call ->> 'summary', call -> 'metadata', call
    from bench_pages
    cross join jsonb_array_elements(body::jsonb) as calls (call)
"""


def keep_pages(url: str, pages: list[list[str]]) -> None:
    """Put pages, as the API gave them, where the insert finds them."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("create unlogged table bench_pages (body text)")
        with conn.cursor().copy("copy bench_pages from stdin") as copy:
            for calls in pages:
                copy.write_row([f"[{','.join(calls)}]"])


def insert_pages(url: str, agency: str) -> float:
    with psycopg.connect(url, autocommit=True) as conn:
        started = time.perf_counter()
        conn.execute(INSERT, [agency])
        return time.perf_counter() - started
