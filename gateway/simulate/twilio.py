"""A simulated Twilio call: webhook, call document, media stream, what follows it, and the end.

Owns the flow of one call as Twilio runs it (reference: carriers section 2) and its faults to order. Refuses to
know the gateway's code: everything here is written from the reference, because it judges the gateway.
"""

import asyncio
import secrets
from urllib.parse import urlsplit

from gateway.audio import MULAW_8K
from gateway.simulate.clock import Clock
from gateway.simulate.ear import Interval
from gateway.simulate.media_socket import SocketError
from gateway.simulate.phone import Observer, Phone, gap_note
from gateway.simulate.result import CallResult
from gateway.simulate.script import CallerFaults, CallScript
from gateway.simulate.twilio_http import (
    HTTP_FAILURE,
    Addresses,
    CallIdentity,
    TwilioRequests,
    WebhookError,
    open_session,
    resolve,
    resolve_stream,
)
from gateway.simulate.twilio_rest import TwilioRest
from gateway.simulate.twilio_signature import sign, stream_url_to_sign
from gateway.simulate.twilio_stream import TwilioStream
from gateway.simulate.twiml import TwimlError, Verb, read_twiml

DEFAULT_CALLER = "+15550100001"
DEFAULT_CALLEE = "+15550100002"
MAX_DOCUMENTS = 50
INVALID_DOCUMENT = 12100
STREAM_REFUSED = 31920
SPEECH_S_PER_WORD = 0.3
LEFT_OPEN_S = 3.0  # longer than an orderly close may take


class _CallOver(Exception):  # noqa: N818 - a fact, not a fault
    def __init__(self, reason: str, failure: str | None = None, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason, self.failure, self.status = reason, failure, status


class _Redirected(Exception):  # noqa: N818 - a fact, not a fault
    def __init__(self, document: str, base: str) -> None:
        super().__init__(document)
        self.document, self.base = document, base


class TwilioCaller:
    """One call over a simulated Twilio; `run` once."""

    def __init__(
        self,
        url: str,
        *,
        token: str,
        script: CallScript | None = None,
        caller: str = DEFAULT_CALLER,
        callee: str = DEFAULT_CALLEE,
        account_sid: str = "AC" + "0" * 32,
        call_sid: str | None = None,
        public_url: str | None = None,
        status_callback: str | None = None,
        extra_fields: dict[str, str] | None = None,
        observer: Observer | None = None,
        faults: CallerFaults | None = None,
        rest: TwilioRest | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.identity = CallIdentity(
            call_sid=call_sid or "CA" + secrets.token_hex(16),
            account_sid=account_sid,
            caller=caller,
            callee=callee,
            extra_fields=extra_fields or {},
        )
        self._addresses = Addresses(url, public_url)
        self._token = token
        self._script = script or CallScript()
        self._status_callback = status_callback
        self._observer = observer
        self._faults = faults or CallerFaults()
        self._rest = rest
        self._clock = clock or Clock()
        self._interrupted = asyncio.Event()
        self._hang_up_reason: str | None = None
        self._next_document: tuple[str, str] | None = None  # a document, or the address of one
        self._stream: TwilioStream | None = None
        self._kills = list(self._faults.kill_socket_at_s)
        self._killed = False
        self._lost_at_s: float | None = None
        self.phone = Phone(MULAW_8K, self._script, self._clock.now(), observer)

    def hang_up(self, reason: str = "caller_hung_up") -> None:
        """End the call from the carrier's side, as soon as the flow can."""
        self._hang_up_reason = self._hang_up_reason or reason
        self._interrupted.set()

    def redirect(self, *, document: str = "", url: str = "") -> None:
        """Stop the stream and carry out another document, as a REST update does."""
        self._next_document = (document, url)
        self._interrupted.set()

    async def run(self) -> CallResult:
        """Make the call; gives what came of it, also when it was refused or failed."""
        if self._rest is not None:
            self._rest.register(self)
        try:
            async with open_session() as session:
                self._requests = TwilioRequests(session, self._addresses, self.identity, self._token)
                over = await self._call()
                await self._report_status(over)
        finally:
            if self._rest is not None:
                self._rest.forget(self)
        self.phone.result.refused_status = self.phone.result.refused_status or over.status
        return self.phone.finish(over.reason, self._clock.now(), over.failure)

    async def _call(self) -> _CallOver:
        try:
            document, base = await self._requests.ask(self._addresses.voice, "ringing")
        except WebhookError as failed:
            reason = "refused" if failed.status else "failed"
            return _CallOver(reason, str(failed), failed.status)
        self.phone = Phone(MULAW_8K, self._script, self._clock.now(), self._observer)
        self.phone.note("answered", f"{self.identity.caller} calls {self.identity.callee}", self._clock.now())
        async with asyncio.TaskGroup() as group:
            pacer = group.create_task(self._pace())
            try:
                return await self._follow(document, base)
            finally:
                pacer.cancel()

    async def _pace(self) -> None:
        """Take and send one frame every 20 ms until cancelled."""
        while True:
            await self._clock.sleep_until(self.phone.next_frame_at)
            now = self._clock.now()
            tick = self.phone.tick(now)
            if self._stream is not None:
                await self._stream.send_tick(tick)
                if self._kills and self.phone.at_s(now) >= self._kills[0]:
                    self._kills.pop(0)
                    self._killed = True
                    self._stream.kill()
            if (reason := self.phone.ending(now)) is not None:
                self.hang_up(reason)

    async def _follow(self, document: str, base: str) -> _CallOver:
        """Carry out documents until the call is over."""
        try:
            for _ in range(MAX_DOCUMENTS):
                try:
                    document, base = await self._carry_out(document, base)
                except _Redirected as redirected:
                    document, base = redirected.document, redirected.base
        except _CallOver as over:
            return over
        except TwimlError as error:
            self.phone.warn(INVALID_DOCUMENT, str(error), self._clock.now())
            return _CallOver("failed", f"the call document cannot be carried out: {error}")
        except WebhookError as failed:
            self.phone.warn(HTTP_FAILURE, str(failed), self._clock.now())
            return _CallOver("failed", str(failed), failed.status)
        return _CallOver("failed", f"the call was sent on to {MAX_DOCUMENTS} documents without an end")

    async def _carry_out(self, document: str, base: str) -> tuple[str, str]:
        """Carry out one document; gives the one that follows it, or raises `_CallOver`."""
        verbs = read_twiml(document)
        self.phone.result.documents.append(document)
        names = ", ".join(verb.name for verb in verbs) or "nothing"
        self.phone.note("document", f"the document says: {names}", self._clock.now())
        for verb in verbs:
            following = await self._carry_out_verb(verb, base)
            if following is not None:
                return following
        raise _CallOver("agent_hung_up")

    async def _carry_out_verb(self, verb: Verb, base: str) -> tuple[str, str] | None:
        match verb.name:
            case "Connect":
                await self._connect(verb, base)
                if "action" in verb.attributes:
                    url = resolve(base, verb.attributes["action"])
                    return await self._requests.ask(url, "in-progress", verb.attributes.get("method", "POST"))
            case "Say" | "Play":
                self.phone.result.carrier_said.append(verb.text.strip())
                await self._wait(len(verb.text.split()) * SPEECH_S_PER_WORD)
            case "Pause":
                await self._wait(float(verb.attributes.get("length", "1")))
            case "Redirect":
                url = resolve(base, verb.text.strip())
                return await self._requests.ask(url, "in-progress", verb.attributes.get("method", "POST"))
            case "Dial":
                numbers = [verb.text.strip(), *(child.text.strip() for child in verb.children)]
                self.phone.result.dialled.extend(filter(None, numbers))
                raise _CallOver("transferred")
            case "Reject":
                raise _CallOver("rejected")
            case _:
                raise _CallOver("agent_hung_up")
        return None

    async def _connect(self, verb: Verb, base: str) -> None:
        """Run one bidirectional stream to its end; returns when the document goes on."""
        element = verb.child("Stream") or Verb("Stream")
        url = resolve_stream(base, element.attributes["url"])
        if urlsplit(url).query:
            self.phone.warn(0, "the <Stream> url has a query string, which Twilio drops", self._clock.now())
            url = url.partition("?")[0]
        signature = sign(self._token, stream_url_to_sign(url))
        stream = TwilioStream(self.phone, self._clock, self._faults, self.identity)
        try:
            await stream.open(self._addresses.to_dial(url), signature, element.parameters)
        except SocketError as refused:
            self.phone.result.refused_status = refused.status
            self.phone.warn(STREAM_REFUSED, str(refused), self._clock.now())
            await self._report_stream(element, base, stream, "stream-error", str(refused))
            await self._divert()
            return
        self._note_open()
        self._stream, self._killed = stream, False
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._report_stream(element, base, stream, "stream-started"))
                await self._until_closed(stream)
        finally:
            self._stream = None
            self.phone.lose_line(self._clock.now())
            self._lost_at_s = self.phone.at_s(self._clock.now())
        await self._report_stream(element, base, stream, "stream-stopped")
        if self._killed and not self._faults.ask_after_a_kill:
            raise _CallOver("socket_killed")
        await self._divert()

    async def _until_closed(self, stream: TwilioStream) -> None:
        """Wait until the gateway or the network closes the stream, or the carrier has to."""
        async with asyncio.TaskGroup() as group:
            reader = group.create_task(stream.read())
            interruption = group.create_task(self._interrupted.wait())
            await asyncio.wait({reader, interruption}, return_when=asyncio.FIRST_COMPLETED)
            if not reader.done():
                await stream.end()
                await asyncio.wait({reader}, timeout=LEFT_OPEN_S)
                if not reader.done():
                    self.phone.warn(0, "the gateway left the socket open after the stop", self._clock.now())
                    stream.kill()
            reader.cancel()
            interruption.cancel()

    async def _wait(self, seconds: float) -> None:
        """Stay on the line, unless the call is ended or redirected meanwhile."""
        async with asyncio.TaskGroup() as group:
            interruption = group.create_task(self._interrupted.wait())
            pause = group.create_task(self._clock.sleep(seconds))
            await asyncio.wait({interruption, pause}, return_when=asyncio.FIRST_COMPLETED)
            interruption.cancel()
            pause.cancel()
        await self._divert()

    async def _divert(self) -> None:
        """Raise what interrupts the document, if anything does."""
        if self._hang_up_reason is not None:
            raise _CallOver(self._hang_up_reason)
        if self._next_document is not None:
            (document, url), self._next_document = self._next_document, None
            self._interrupted.clear()
            base = url or self._addresses.voice
            if url:
                document, base = await self._requests.ask(url, "in-progress")
            raise _Redirected(document, base)

    def _note_open(self) -> None:
        now = self._clock.now()
        self.phone.result.sockets += 1
        self.phone.note("socket", f"media stream {self.phone.result.sockets} is open", now)
        if self._lost_at_s is not None:
            gap = Interval(self._lost_at_s, self.phone.at_s(now))
            self.phone.result.socket_gaps.append(gap)
            self.phone.note("socket", gap_note(gap), now)

    async def _report_stream(
        self, element: Verb, base: str, stream: TwilioStream, event: str, error: str = ""
    ) -> None:
        if "statusCallback" not in element.attributes:
            return
        more = {
            "StreamSid": stream.stream_sid,
            "StreamName": element.attributes.get("name", ""),
            "StreamEvent": event,
        }
        if error:
            more["StreamError"] = error
        url = resolve(base, element.attributes["statusCallback"])
        await self._report(url, "in-progress", more, element.attributes.get("statusCallbackMethod", "POST"))

    async def _report_status(self, over: _CallOver) -> None:
        if self._status_callback is None:
            return
        seconds = str(round(self.phone.at_s(self._clock.now())))
        more = {
            "CallDuration": seconds,
            "Duration": "1",
            "SequenceNumber": "0",
            "CallbackSource": "call-progress-events",
        }
        url = resolve(self._addresses.voice, self._status_callback)
        status = "busy" if over.reason == "rejected" else "completed"
        await self._report(url, "failed" if over.reason == "refused" else status, more, "POST")

    async def _report(self, url: str, status: str, more: dict[str, str], method: str) -> None:
        try:
            await self._requests.ask(url, status, method, more)
        except WebhookError as failed:
            self.phone.warn(HTTP_FAILURE, str(failed), self._clock.now())
