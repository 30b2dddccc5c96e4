"""Signatures of deliveries: what Standard Webhooks asks for, and that nothing else is taken."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from multidict import CIMultiDict

from headrace.signature import TOLERANCE, Delivery, Keys, Unfit, delivery_of, fits, keys_of

NOW = 1_614_265_330
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
BODY = b'{"test": 2432232314}'
# What an implementation of the specification signs this id, time and body with, with this secret.
KNOWN = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
OTHER = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="


def headers(signature: str = KNOWN, id_: str = ID, timestamp: object = NOW) -> CIMultiDict[str]:
    """The three of a delivery."""
    given = {"Webhook-Id": id_, "webhook-timestamp": str(timestamp), "WEBHOOK-SIGNATURE": signature}
    return CIMultiDict(given)


def checked(signature: str = KNOWN, body: bytes = BODY, *secrets: str) -> bool:
    """Whether it is let in, with these secrets, or the one."""
    keys = keys_of({str(n): secret.encode() for n, secret in enumerate(secrets or (SECRET,))})
    return fits(delivery_of(headers(signature), NOW), body, keys.values)


def signed(secret: str, id_: str = ID, timestamp: object = NOW, body: bytes = BODY) -> str:
    """A signature."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = f"{id_}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()


@pytest.mark.parametrize(
    ("signature", "good"),
    [
        pytest.param(KNOWN, True, id="a known one"),
        pytest.param(f"{OTHER} v2,{OTHER[3:]} {KNOWN} {OTHER}", True, id="among others"),
        pytest.param(f"v1a,{KNOWN[3:]} {KNOWN}", True, id="beside an asymmetric one"),
        pytest.param(OTHER, False, id="another"),
        pytest.param(KNOWN[:-2] + "A=", False, id="its last bit another"),
    ],
)
def test_signatures(signature: str, good: bool) -> None:
    assert checked(signature) is good


def test_every_part_is_signed() -> None:
    (key,) = keys_of({"k": SECRET.encode()}).values
    whole = delivery_of(headers(), NOW)
    assert fits(whole, BODY, [key])
    assert not fits(whole, BODY + b" ", [key])
    assert not fits(delivery_of(headers(id_=ID + "x"), NOW), BODY, [key])
    assert not fits(delivery_of(headers(timestamp=NOW + 1), NOW), BODY, [key])
    assert not fits(whole, BODY, [key[:-1]])


def test_two_keys_are_good_while_they_are_exchanged() -> None:
    new = "whsec_" + base64.b64encode(b"n" * 32).decode()
    for signature in (KNOWN, signed(new), f"{signed(new)} {KNOWN}"):
        assert checked(signature, BODY, SECRET, new)
    assert not checked(KNOWN, BODY, new)


def test_without_a_key_nothing_fits() -> None:
    assert not fits(delivery_of(headers(), NOW), BODY, [])


@pytest.mark.parametrize("away", [-TOLERANCE, 0, TOLERANCE])
def test_a_time_within_five_minutes_is_good(away: int) -> None:
    assert delivery_of(headers(timestamp=NOW + away), NOW) == Delivery(
        id=ID, timestamp=NOW + away, signatures=(base64.b64decode(KNOWN[3:]),)
    )


@pytest.mark.parametrize(
    ("given", "why"),
    [
        pytest.param({"timestamp": NOW - TOLERANCE - 1}, "301 s in the past", id="expired"),
        pytest.param({"timestamp": NOW + TOLERANCE + 1}, "301 s in the future", id="to come"),
        pytest.param({"timestamp": "hello"}, "no number", id="no time"),
        pytest.param({"timestamp": f"{NOW}.0"}, "no number", id="a fraction"),
        pytest.param({"timestamp": f"+{NOW}"}, "no number", id="a sign"),
        pytest.param({"timestamp": "١٦١٤٢٦٥٣٣٠"}, "no number", id="other digits"),
        pytest.param({"timestamp": "9" * 5000}, "no number", id="a long time"),
        pytest.param({"id_": ""}, "webhook-id", id="no id"),
        pytest.param({"id_": "a.1"}, "webhook-id", id="a dot, which parts what is signed"),
        pytest.param({"id_": "a" * 256}, "webhook-id", id="a long id"),
        pytest.param({"id_": "a\n"}, "webhook-id", id="a newline"),
        pytest.param({"signature": ""}, "no v1", id="no signature"),
        pytest.param({"signature": "v1"}, "no v1", id="nothing of it"),
        pytest.param({"signature": "v1,!!!"}, "no v1", id="no base64"),
        pytest.param({"signature": "v1,é"}, "no v1", id="no ASCII"),
        pytest.param({"signature": "v1,AAAA"}, "no v1", id="short"),
        pytest.param({"signature": KNOWN.replace("v1", "v2")}, "no v1", id="another version"),
        pytest.param({"signature": "v1,x " * 16 + KNOWN}, "no v1", id="the seventeenth"),
    ],
)
def test_what_does_not_fit(given: dict[str, str], why: str) -> None:
    with pytest.raises(Unfit, match=why):
        delivery_of(headers(**given), NOW)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_each_header_is_there_once(name: str) -> None:
    without = headers()
    del without[name]
    with pytest.raises(Unfit, match=f"no header {name}"):
        delivery_of(without, NOW)
    twice = headers()
    twice.add(name, twice[name])
    with pytest.raises(Unfit, match=f"more than one header {name}"):
        delivery_of(twice, NOW)


@pytest.mark.parametrize(
    ("values", "sizes"),
    [
        pytest.param([SECRET], [24], id="24 bytes"),
        pytest.param([SECRET + "\n"], [24], id="a line, as a file has it"),
        pytest.param(["whsec_" + base64.b64encode(b"k" * 25).decode().rstrip("=")], [25], id="not padded"),
        pytest.param(["whsec_" + base64.b64encode(b"k" * 64).decode(), SECRET], [64, 24], id="two"),
        pytest.param(["a note", SECRET, "\xff\xfe"], [24], id="beside something else"),
        pytest.param([SECRET] * 20, [24] * 16, id="many"),
        pytest.param([SECRET.removeprefix("whsec_")], [], id="without the prefix"),
        pytest.param(["whsec_" + base64.b64encode(b"k" * 23).decode()], [], id="23 bytes"),
        pytest.param(["whsec_" + base64.b64encode(b"k" * 65).decode()], [], id="65 bytes"),
        pytest.param(["whsec_a b"], [], id="no base64"),
        pytest.param(["correct horse battery staple"], [], id="a password"),
        pytest.param([], [], id="nothing"),
    ],
)
def test_keys(values: list[str], sizes: list[int]) -> None:
    found = keys_of({f"{n:02}": value.encode("latin-1") for n, value in enumerate(values)})
    assert [len(key) for key in found.values] == sizes
    assert (found.trouble is None) == bool(sizes)


def test_keys_are_not_shown() -> None:
    assert repr(keys_of({"k": SECRET.encode()})) == "Keys(1 keys, None)"
    assert "MfKQ" not in f"{Keys((b'MfKQ',))}"
