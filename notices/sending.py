"""One attempt to deliver a notice: an e-mail, or a signed POST to a webhook."""

from __future__ import annotations

import hmac
import json
import smtplib
import time
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parseaddr

import structlog
from django.conf import settings
from django.core.mail import EmailMessage

from backoffice.outbound import OutboundError, call
from notices.kinds import label_of
from notices.models import Delivery, webhook_policy
from notices.sealing import Unsealable, unseal

logger = structlog.get_logger(__name__)

WEBHOOK_TIMEOUT_S = 5
EXCERPT = 200
NO_MAIL_SERVER = "No mail server is configured: set EMAIL_URL."
GONE = 410


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended: without an `error` it succeeded; a final error makes another attempt pointless.

    `answer` is the beginning of what a webhook said; it may repeat the webhook's address.
    """

    error: str = ""
    status: int | None = None
    took_ms: int = 0
    is_final: bool = False
    answer: str = field(default="", repr=False)


def send(delivery: Delivery, moment: datetime) -> Outcome:
    """Send a delivery through its channel and tell how that went, whatever happens."""
    try:
        return _post(delivery, moment) if delivery.channel.is_webhook else _mail(delivery)
    except Exception as error:
        # One delivery that nobody foresaw must not keep the others of its round from being sent.
        logger.exception("notice-not-sent", delivery=str(delivery.delivery_id))
        return Outcome(f"It could not be sent: {type(error).__name__}.")


# --- Webhook ---


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """Return the signature of a webhook's call: HMAC-SHA256 over time, a dot and body, in hex after `v1=`."""
    return "v1=" + hmac.digest(secret.encode(), timestamp.encode() + b"." + body, "sha256").hex()


def body_of(delivery: Delivery) -> bytes:
    """Return the JSON that a webhook gets; the same bytes at every attempt."""
    notice = delivery.notice
    content = {
        "id": str(delivery.delivery_id),
        "kind": notice.kind,
        "key": notice.key,
        "at": notice.at.isoformat().replace("+00:00", "Z"),
        "subject": notice.subject,
        "text": notice.text,
        "organization": notice.organization.code if notice.organization else None,
        "data": notice.data,
    }
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _post(delivery: Delivery, moment: datetime) -> Outcome:
    body, timestamp = body_of(delivery), str(int(moment.timestamp()))
    try:
        secret = unseal(delivery.channel.sealed_secret)
    except Unsealable:
        return Outcome("The channel's secret was stored with another TOKEN_DIGEST_KEY: make a new secret.")
    headers = {
        "Content-Type": "application/json",
        "X-Booster-Delivery": str(delivery.delivery_id),
        "X-Booster-Timestamp": timestamp,
        "X-Booster-Signature": sign(secret, timestamp, body),
    }
    try:
        answer = call(
            "POST",
            delivery.channel.url,
            timeout_s=WEBHOOK_TIMEOUT_S,
            policy=webhook_policy(),
            headers=headers,
            content=body,
            max_bytes=4 * EXCERPT,
        )
    except OutboundError as error:
        return Outcome(str(error), took_ms=error.took_ms)
    if 200 <= answer.status < 300:  # noqa: PLR2004 - what HTTP calls success
        return Outcome(status=answer.status, took_ms=answer.took_ms)
    error_text = f"The webhook answered {answer.status}"
    if answer.status == GONE:
        error_text += ": it is gone"
    elif 300 <= answer.status < 400:  # noqa: PLR2004 - what HTTP calls redirection
        error_text += ": redirects are not followed"
    text = "".join(letter if letter.isprintable() else " " for letter in answer.body.decode(errors="replace"))
    return Outcome(f"{error_text}.", answer.status, answer.took_ms, answer.status == GONE, text[:EXCERPT])


# --- E-mail ---


def _mail(delivery: Delivery) -> Outcome:
    if not settings.EMAIL_URL:
        return Outcome(NO_MAIL_SERVER)
    begun = time.monotonic()
    error = ""
    try:
        _message_of(delivery).send()
    except smtplib.SMTPResponseException as refused:
        said = refused.smtp_error.decode(errors="replace") if isinstance(refused.smtp_error, bytes) else ""
        error = f"The mail server refused: {refused.smtp_code} {said}".strip()
    except smtplib.SMTPRecipientsRefused:
        error = "The mail server refused all recipients."
    except TimeoutError:
        error = f"The mail server did not answer within {settings.EMAIL_TIMEOUT} s."
    except OSError as failed:  # what else smtplib raises is one as well
        reason = failed.strerror or str(failed) or type(failed).__name__
        error = f"The mail server cannot be used: {reason}."
    return Outcome(error, took_ms=round((time.monotonic() - begun) * 1000))


def _message_of(delivery: Delivery) -> EmailMessage:
    """Return the e-mail; its Message-ID stays the same, so that mail programs drop a double."""
    notice = delivery.notice
    about = f"{notice.organization} | " if notice.organization else ""
    host = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2] or "localhost"
    return EmailMessage(
        subject=" ".join(notice.subject.split()),
        body=f"{notice.text}\n\n-- \n{about}{label_of(notice.kind)} | {notice.at:%Y-%m-%d %H:%M:%S} UTC\n",
        from_email=settings.DEFAULT_FROM_EMAIL,
        to=delivery.channel.recipients,
        headers={"Message-ID": f"<{delivery.delivery_id}@{host}>", "Auto-Submitted": "auto-generated"},
    )
