"""Deliveries as a sender signs them, with nothing but the standard library."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

PATH = "/v1/webhooks/air/flights/load"
KEY = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
OTHER_KEY = "whsec_" + base64.b64encode(b"fedcba9876543210fedcba9876543210").decode()


def signed(body: bytes, key: str = KEY, id_: str = "msg_1", at: float | None = None) -> dict[str, str]:
    """The headers of a delivery of `body` at a time, now if none is given."""
    timestamp = str(int(time.time() if at is None else at))
    secret = base64.b64decode(key.removeprefix("whsec_"))
    content = b".".join((id_.encode(), timestamp.encode(), body))
    signature = base64.b64encode(hmac.new(secret, content, hashlib.sha256).digest()).decode()
    return {"webhook-id": id_, "webhook-timestamp": timestamp, "webhook-signature": f"v1,{signature}"}
