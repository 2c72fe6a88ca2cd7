"""Believable calls in the shape of Ultravox's API, the same for the same seed."""

import random
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from math import ceil
from typing import Any

Call = dict[str, Any]

_AGENTS = (
    ("Front desk", "en", "You answer the phone of a dental practice. Be brief and friendly."),
    ("Appointment reminders", "en", "You call patients a day ahead and offer to move the visit."),
    ("Lead qualification", "en", "You find out budget, need and time frame, then offer a meeting."),
    ("Kundenservice", "de", "Du nimmst Anfragen zu Bestellungen und Rechnungen entgegen."),
    ("Night line", "es", "Atiendes fuera del horario y tomas recados con nombre y número."),
)
_TOPICS = (
    ("Booked a visit", "{name} asked for an appointment and took {day} at {hour}:30."),
    ("Moved a visit", "{name} could not come on {day} and was moved to the week after."),
    ("Asked for a price", "{name} asked what a first visit costs and wanted the answer by mail."),
    ("Left a message", "{name} left a message for the manager and asks to be called on {day}."),
    ("Complaint", "{name} waited twenty minutes on {day} and was connected to a colleague."),
    ("Wrong number", "{name} had dialled the wrong number; the call ended politely."),
)
_NAMES = ("Alice Martin", "Ben Carter", "Carla Rossi", "Dev Patel", "Emma Novak", "Frank Osei")
_FAR_NAMES = ("Zoë Müller", "Łukasz Żak", "山田 花子", "Иван Петров", "Nora 👋 Sørensen")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
_ENDS = {"hangup": 52, "agent_hangup": 32, "unjoined": 9, "timeout": 3, "connection_error": 3}
_ENDS |= {"system_error": 1}
_MEDIA = {"webRtc": 25, "twilio": 30, "plivo": 18, "sip": 14, "telnyx": 7, "exotel": 3}
_MEDIA |= {"serverWebSocket": 3}
_RUNNING = timedelta(minutes=4)  # a call begun this late still runs


def demo_calls(count: int, *, seed: int, until: datetime, months: int = 4) -> list[Call]:
    """Believable calls of the months before `until`, oldest first; the last few still run."""
    chance = random.Random(seed)  # noqa: S311 (repeatable, not secret)
    until = until.astimezone(UTC) if until.tzinfo else until.replace(tzinfo=UTC)
    voices = [_uuid(chance) for _ in _AGENTS]
    agents = [{"agentId": _uuid(chance), "name": name} for name, _, _ in _AGENTS]
    calls = []
    for created in _demo_times(count, chance, until, timedelta(days=30 * max(months, 1))):
        which = chance.choices(range(len(_AGENTS)), (40, 25, 20, 10, 5))[0]
        call = _demo_call(chance, created, until)
        call |= {"voice": voices[which], "languageHint": _AGENTS[which][1]}
        if chance.random() < 0.94:  # the others were started without an agent
            call |= {"agent": agents[which], "agentId": agents[which]["agentId"]}
            call["systemPrompt"] = _AGENTS[which][2]
        calls.append(call)
    return calls


def _demo_times(count: int, chance: random.Random, until: datetime, span: timedelta) -> list[datetime]:
    """Distinct times: office hours on weekdays, slowly growing, one week of a launch."""
    days = [until - timedelta(days=ago) for ago in range(span.days + 1)]
    weights = [1.5 - ago / len(days) for ago in range(len(days))]
    for ago, day in enumerate(days):
        weights[ago] *= 0.15 if day.weekday() > 4 else 1.0
        weights[ago] *= 4.0 if 0 <= ago - len(days) // 3 < 7 else 1.0
    late = [until - chance.random() * _RUNNING for _ in range(min(4, count // 10))]
    times = set(late)
    while len(times) < count:
        midnight = datetime.combine(chance.choices(days, weights)[0], time.min, UTC)
        moment = midnight + timedelta(hours=chance.gauss(13, 2.8))
        if until - span <= moment < until - _RUNNING:
            times.add(moment)
    return sorted(times)


def _demo_call(chance: random.Random, created: datetime, until: datetime) -> Call:
    call_id = _uuid(chance)
    medium = _pick(chance, _MEDIA)
    greets = medium != "webRtc" or chance.random() < 0.8
    return {
        "callId": call_id,
        "clientVersion": chance.choice(("js_0.8.1", "js_0.7.0")) if medium == "webRtc" else None,
        "created": _stamp(created),
        **_demo_course(chance, created, until, medium),
        "firstSpeaker": "FIRST_SPEAKER_AGENT" if greets else "FIRST_SPEAKER_USER",
        "firstSpeakerSettings": {"agent": {}} if greets else {"user": {}},
        "inactivityMessages": [{"duration": "30s", "message": "Are you still there?"}],
        "initialOutputMedium": "MESSAGE_MEDIUM_VOICE",
        "joinTimeout": "30s",
        "joinUrl": f"wss://voice.example.invalid/calls/{call_id}",
        "languageHint": None,
        "maxDuration": "3600s",
        "medium": {medium: {"inputSampleRate": 16000} if medium == "serverWebSocket" else {}},
        "model": chance.choices(("ultravox-v0.7", "ultravox-v0.6"), (9, 1))[0],
        "recordingEnabled": chance.random() < 0.6,
        "retentionPolicy": "retain",
        "systemPrompt": None,
        "temperature": 0.3,
        "timeExceededMessage": None,
        "voice": None,
        "transcriptOptional": True,
        "vadSettings": None,
        "agent": None,
        "agentId": None,
        "experimentalSettings": None,
        "metadata": _demo_metadata(chance, medium),
        "initialState": {},
        "requestContext": {},
    }


def _demo_course(chance: random.Random, created: datetime, until: datetime, medium: str) -> Call:
    """How the call went: everything that is null while it runs, or was never joined."""
    reason = _pick(chance, _ENDS)
    unjoined = reason == "unjoined"
    joined = created + timedelta(seconds=chance.uniform(0.4, 4))
    lasts = 3600.0 if reason == "timeout" else min(chance.lognormvariate(4.6, 0.8) + 3, 3500)
    ended = created + timedelta(seconds=30) if unjoined else joined + timedelta(seconds=lasts)
    billed = f"{int(lasts)}.5s" if chance.random() < 0.1 else f"{ceil(lasts)}s"
    status = "FREE_SYSTEM_ERROR" if reason == "system_error" else "BILLED"
    short, long = chance.choice(_TOPICS)
    name = chance.choice(_FAR_NAMES if chance.random() < 0.04 else _NAMES)
    told = long.format(name=name, day=chance.choice(_DAYS), hour=chance.randrange(8, 18))
    sip = {"billedDuration": billed, "terminationReason": "SIP_TERMINATION_NORMAL"}
    course: Call = {
        "joined": None if unjoined else _stamp(joined),
        "ended": _stamp(ended),
        "endReason": reason,
        "billedDuration": "0s" if unjoined else billed,
        "billedSideInputTokens": 0 if unjoined else int(lasts * 14),
        "billedSideOutputTokens": 0 if unjoined else int(lasts * 5),
        "billingStatus": f"BILLING_STATUS_{'FREE_ZERO_EFFECTIVE_DURATION' if unjoined else status}",
        "shortSummary": None if unjoined else short,
        "summary": None if unjoined else told,
        "sipDetails": sip if medium == "sip" and not unjoined else None,
    }
    if created < until - _RUNNING and ended <= until:
        return course
    running: Call = dict.fromkeys(course) | {"billingStatus": "BILLING_STATUS_PENDING"}
    return running | {"joined": _stamp(joined) if joined <= until else None}


def _demo_metadata(chance: random.Random, medium: str) -> dict[str, str]:
    """Flat keys with dots, as the telephony integrations write them."""
    metadata = {"campaign": chance.choice(("spring", "reactivation", "inbound", "référence"))}
    number = f"+1415555{chance.randrange(10_000):04d}"
    if medium == "twilio":
        metadata["ultravox.twilio.call_sid"] = f"CA{chance.getrandbits(128):032x}"
    elif medium in ("plivo", "telnyx", "sip"):
        metadata[f"ultravox.{medium}.call_id"] = _uuid(chance)
    if medium not in ("webRtc", "serverWebSocket"):
        metadata[f"ultravox.{medium}.from"] = number
    return metadata


def _pick(chance: random.Random, weights: Mapping[str, int]) -> str:
    return chance.choices(list(weights), list(weights.values()))[0]


def _uuid(chance: random.Random) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
