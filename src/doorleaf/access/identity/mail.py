"""Mail over SMTP, in the background: a request does not wait for a mail server, and tells nothing by its time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from urllib.parse import unquote, urlsplit

from doorleaf.settings.providers import is_loopback

TIMEOUT = 15.0
"""Seconds that one step of a conversation with the mail server may take."""
PAUSES = (1.0, 10.0)
"""Seconds between the attempts to send one mail."""
GRACE = 5.0
"""Seconds that mails on their way get when the server stops."""
WAITING = 1000
"""Mails that may be on their way at once."""

log = logging.getLogger("doorleaf.access")


class Mail:
    """Sends mails from ``sender`` through the server that ``url`` names; None sends nothing.

    ``smtps://`` is encrypted from the start; ``smtp://`` turns encryption on where the server offers it, and never
    shows a password without it, except to this machine.
    """

    def __init__(self, url: str | None, sender: str | None) -> None:
        self._url = url
        self._sender = sender or ""
        self._tasks: set[asyncio.Task[None]] = set()
        self.on = url is not None
        """Whether there is a mail server."""

    def send(self, to: str, subject: str, text: str) -> None:
        """Send a mail in the background; what cannot be sent after three attempts is logged, without its text."""
        if len(self._tasks) >= WAITING:
            log.error("a mail was not sent: %d are waiting already", WAITING)
            return
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self._sender, to, subject
        message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain="doorleaf.invalid")
        message.set_content(text)
        task = asyncio.create_task(self._deliver(message), name="mail")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, message: EmailMessage) -> None:
        for pause in (*PAUSES, None):
            try:
                await asyncio.to_thread(self._converse, message)
            except (OSError, ValueError) as error:
                # The class alone: a server's answer may repeat what it was sent.
                reason = type(error).__name__
            else:
                return
            if pause is None:
                log.error("a mail could not be sent: %s", reason)
            else:
                await asyncio.sleep(pause)

    def _converse(self, message: EmailMessage) -> None:
        import smtplib  # for who sends mail

        parts = urlsplit(self._url or "")
        host = parts.hostname or ""
        context = ssl.create_default_context()
        server: smtplib.SMTP
        if parts.scheme == "smtps":
            server = smtplib.SMTP_SSL(host, parts.port or 465, timeout=TIMEOUT, context=context)
        else:
            server = smtplib.SMTP(host, parts.port or 587, timeout=TIMEOUT)
        with server:
            server.ehlo_or_helo_if_needed()
            encrypted = parts.scheme == "smtps"
            if not encrypted and server.has_extn("starttls"):
                server.starttls(context=context)
                encrypted = True
            if parts.username:
                if not encrypted and not is_loopback(host):
                    raise ValueError("the mail server takes no encrypted connection, so it gets no password")
                server.login(unquote(parts.username), unquote(parts.password or ""))
            server.send_message(message)

    async def stop(self) -> None:
        """Wait a little for mails on their way, and give the others up."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=GRACE)
        for task in list(self._tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
