"""REST: who signed in and out, and the sessions in between."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from tap_labelbox.sandbox.world import User, World

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
LIFE = timedelta(hours=84, minutes=1)
"""How long a session can last that nobody prolongs."""
SWITCH_LIFE = timedelta(days=7)
LONG_LIFE = timedelta(days=25)
"""How long one can last that somebody prolongs each day."""
LAG = timedelta(minutes=5)
"""Events that are younger are not listed yet."""
# Unlike all others, the last ones are in no documentation.
START_KINDS = ("SIGN_IN", "SIGN_IN", "SIGN_IN", "WORKSPACE_SWITCH", "PASSKEY")
END_REASONS = (
    *("SIGNED_OUT", "SIGNED_OUT", "SIGNED_OUT", "REPLACED", "WORKSPACE_SWITCH"),
    *("ACCOUNT_REMOVED", "REVOKED", "IDLE"),
)


class SignIns:
    """The sessions of all members, made up for each of them and each day alone.

    Args:
        world: Who is there, and what time it is.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    def sessions(self, first: date, last: date, cursor: str, size: int) -> Any:
        """Return a page of the sessions that began on these days, oldest first."""
        rows = sorted(self._sessions(first, last), key=_session_order)
        rows = [row for row in rows if _mark(_session_order(row)) > cursor]
        page = rows[:size]
        more = len(rows) > size
        cursor = _mark(_session_order(page[-1])) if more else ""
        return {"data": page, "nextCursor": cursor or None}

    def events(self, first: date, last: date, cursor: str, size: int) -> Any:
        """Return a page of the events of these days, oldest first."""
        begin, end = _midnight(first), _midnight(last + DAY)
        complete = min(end, self._world.now() - LAG)
        events = [
            event
            for session in self._sessions(first - LONG_LIFE, last)
            for event in _events(session)
            if _text(begin) <= event["occurredAt"] < _text(complete)
        ]
        rows = sorted(events, key=_event_order)
        rows = [row for row in rows if _mark(_event_order(row)) > cursor]
        page = rows[:size]
        if len(rows) > size:
            return {"data": page, "nextCursor": _mark(_event_order(page[-1]))}
        return {"data": page, "nextCursor": None, "completeThrough": _text(complete)}

    def _sessions(self, first: date, last: date) -> Iterator[dict[str, Any]]:
        for number in range((last - first).days + 1):
            for user in self._world.users:
                yield from self._of_day(user, first + number * DAY)

    def _of_day(self, user: User, day: date) -> Iterator[dict[str, Any]]:
        """Yield the sessions that a user began on a day, as they are now."""
        now = self._world.now()
        chance = Random(f"{user.id} {day}")
        for number in range(chance.choice((0, 1, 1, 2))):
            start = _midnight(day) + chance.random() * DAY
            session_id = f"s-{chance.getrandbits(48):012x}-{number}"
            kind = chance.choice(START_KINDS)
            reason = chance.choice(END_REASONS)
            is_recorded, is_long = chance.random() < 0.7, chance.random() < 0.05
            after = chance.random() * (LONG_LIFE if is_long else 10 * HOUR)
            if start >= now:
                continue
            expires = start + (SWITCH_LIFE if kind == "WORKSPACE_SWITCH" else LIFE)
            if is_long:  # set anew each day until it ends
                seen_at = min(now, start + after)
                expires = max(expires, start + (seen_at - start) // DAY * DAY + LIFE)
            end = start + after if is_recorded else expires
            if not is_recorded:
                reason = "MAX_DURATION_REACHED"
            is_over = end <= now
            gone = user.org_role is None
            yield {
                "sessionId": session_id,
                "userId": user.id,
                "email": None if gone else user.email,
                "memberDeleted": gone,
                "startedAt": _text(start),
                "startKind": kind,
                "status": "ENDED" if is_over else "OPEN",
                "endedAt": _text(end) if is_over else None,
                "endReason": reason if is_over else None,
                "endDerived": not is_recorded if is_over else None,
                "expiresAt": _text(expires),
                "durationSeconds": int((end - start).total_seconds())
                if is_over
                else None,
            }


def _events(session: dict[str, Any]) -> Iterator[dict[str, Any]]:
    same = {name: session[name] for name in ("sessionId", "userId", "email")}
    same |= {"sessionStartedAt": session["startedAt"]}
    same |= {"startKind": None, "endReason": None, "endDerived": None}
    yield same | {
        "eventId": f"{session['sessionId']}:in",
        "type": "SIGN_IN",
        "occurredAt": session["startedAt"],
        "startKind": session["startKind"],
    }
    if session["endedAt"]:
        yield same | {
            "eventId": f"{session['sessionId']}:out",
            "type": "SIGN_OUT",
            "occurredAt": session["endedAt"],
            "endReason": session["endReason"],
            "endDerived": session["endDerived"],
        }


def _session_order(row: dict[str, Any]) -> tuple[str, str]:
    return row["startedAt"], row["sessionId"]


def _event_order(row: dict[str, Any]) -> tuple[str, str]:
    return row["occurredAt"], row["eventId"]


def _mark(order: tuple[str, str]) -> str:
    return "/".join(order)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _text(timestamp: datetime) -> str:
    return timestamp.isoformat(timespec="milliseconds").replace("+00:00", "Z")
