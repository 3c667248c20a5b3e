"""Deadlines and tokens go by the API server's clock, whatever this machine's says."""

from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from paddock_operator.cluster.clock import ServerClock, steady
from paddock_operator.runtime_client.tokens import TokenIssuer

NOW = datetime(2026, 8, 4, 9, 30, tzinfo=UTC)
DATE = "Tue, 04 Aug 2026 09:30:00 GMT"


class Own:
    def __init__(self, off: float) -> None:
        self.time = NOW + timedelta(seconds=off)

    def __call__(self) -> datetime:
        return self.time


@pytest.mark.parametrize("off", [-300, -21, -3, 3, 300, 86_400])
def test_a_clock_that_is_off_is_corrected_and_goes_on(
    off: float, caplog: pytest.LogCaptureFixture
) -> None:
    own = Own(off)
    clock = ServerClock(own)
    clock.heard(DATE)
    assert clock.now() == own.time, "one answer may be anybody's"
    clock.heard(DATE)
    assert clock.now() == NOW
    own.time += timedelta(seconds=90)
    assert clock.now() == NOW + timedelta(seconds=90)
    assert ("this clock is off" in caplog.text) is (abs(off) > 20)


@pytest.mark.parametrize("off", [-1.9, 0, 0.4, 1.9])
def test_the_way_of_an_answer_is_not_taken_for_a_difference(off: float) -> None:
    own = Own(off)
    clock = ServerClock(own)
    clock.heard(DATE)
    assert clock.now() == own.time


def test_a_clock_that_is_set_right_is_followed() -> None:
    own = Own(300)
    clock = ServerClock(own)
    for _ in range(2):
        clock.heard(DATE)
    own.time = NOW
    for _ in range(2):
        clock.heard(DATE)
    assert clock.now() == NOW


def test_an_odd_answer_among_good_ones_moves_nothing() -> None:
    own = Own(0)
    clock = ServerClock(own)
    for odd in ("Fri, 01 Jan 2100 00:00:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT"):
        for date in (DATE, odd, DATE, odd, DATE):
            clock.heard(date)
            assert clock.now() == NOW


def test_setting_the_machines_clock_does_not_move_it() -> None:
    assert abs(steady() - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    "date", [None, "", "soon", "Tue, 04 Aug 2026 25:30:00 GMT", "Tue, 04 Aug 2026 09:30:00 -0000"]
)
def test_a_header_that_is_none_changes_nothing(date: str | None) -> None:
    own = Own(300)
    clock = ServerClock(own)
    clock.heard(date)
    assert clock.now() == own.time


def test_a_token_that_was_made_while_the_clock_was_ahead_is_not_used_again() -> None:
    own = Own(300)
    clock = ServerClock(own)
    issuer = TokenIssuer(Ed25519PrivateKey.generate(), clock.now)
    early = issuer.token("a")
    clock.heard(DATE)
    clock.heard(DATE)
    token = issuer.token("a")
    assert token != early
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["exp"] == NOW.timestamp() + 60
