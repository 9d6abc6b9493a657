"""A simulated Twilio call: webhook, call document, media stream, what follows it, and the end.

Owns the flow of one call as Twilio runs it (reference: carriers section 2) and its faults to order. Refuses to
know the gateway's code: everything here is written from the reference, because it judges the gateway.
"""

import asyncio
import secrets
from urllib.parse import urlsplit

from gateway.audio import MULAW_8K
from gateway.simulate.carrier_call import CallOver, CarrierCall
from gateway.simulate.clock import Clock
from gateway.simulate.media_socket import SocketError
from gateway.simulate.phone import Observer
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


class _Redirected(Exception):  # noqa: N818 - a fact, not a fault
    def __init__(self, document: str, base: str) -> None:
        super().__init__(document)
        self.document, self.base = document, base


class TwilioCaller(CarrierCall):
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
        super().__init__(MULAW_8K, script=script, observer=observer, faults=faults, clock=clock)
        self.identity = CallIdentity(
            call_sid=call_sid or "CA" + secrets.token_hex(16),
            account_sid=account_sid,
            caller=caller,
            callee=callee,
            extra_fields=extra_fields or {},
        )
        self._addresses = Addresses(url, public_url)
        self._token = token
        self._status_callback = status_callback
        self._rest = rest

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

    async def _call(self) -> CallOver:
        try:
            document, base = await self._requests.ask(self._addresses.voice, "ringing")
        except WebhookError as failed:
            reason = "refused" if failed.status else "failed"
            return CallOver(reason, str(failed), failed.status)
        self._pick_up(MULAW_8K, f"{self.identity.caller} calls {self.identity.callee}")
        async with asyncio.TaskGroup() as group:
            pacer = group.create_task(self._pace())
            try:
                return await self._follow(document, base)
            finally:
                pacer.cancel()

    async def _follow(self, document: str, base: str) -> CallOver:
        """Carry out documents until the call is over."""
        try:
            for _ in range(MAX_DOCUMENTS):
                try:
                    document, base = await self._carry_out(document, base)
                except _Redirected as redirected:
                    document, base = redirected.document, redirected.base
        except CallOver as over:
            return over
        except TwimlError as error:
            self.phone.warn(INVALID_DOCUMENT, str(error), self._clock.now())
            return CallOver("failed", f"the call document cannot be carried out: {error}")
        except WebhookError as failed:
            self.phone.warn(HTTP_FAILURE, str(failed), self._clock.now())
            return CallOver("failed", str(failed), failed.status)
        return CallOver("failed", f"the call was sent on to {MAX_DOCUMENTS} documents without an end")

    async def _carry_out(self, document: str, base: str) -> tuple[str, str]:
        """Carry out one document; gives the one that follows it, or raises `CallOver`."""
        verbs = read_twiml(document)
        self.phone.result.documents.append(document)
        names = ", ".join(verb.name for verb in verbs) or "nothing"
        self.phone.note("document", f"the document says: {names}", self._clock.now())
        for verb in verbs:
            following = await self._carry_out_verb(verb, base)
            if following is not None:
                return following
        raise CallOver("agent_hung_up")

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
                raise CallOver("transferred")
            case "Reject":
                raise CallOver("rejected")
            case _:
                raise CallOver("agent_hung_up")
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
        with self._streaming(stream):
            async with asyncio.TaskGroup() as group:
                group.create_task(self._report_stream(element, base, stream, "stream-started"))
                await self._until_closed(stream)
        await self._report_stream(element, base, stream, "stream-stopped")
        if self._killed and not self._faults.ask_after_a_kill:
            raise CallOver("socket_killed")
        await self._divert()

    async def _wait(self, seconds: float) -> None:
        """Stay on the line, unless the call is ended or redirected meanwhile."""
        await self._stay(seconds)
        await self._divert()

    async def _divert(self) -> None:
        """Raise what interrupts the document, if anything does."""
        if (following := self._diversion()) is not None:
            document, url = following
            base = url or self._addresses.voice
            if url:
                document, base = await self._requests.ask(url, "in-progress")
            raise _Redirected(document, base)

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

    async def _report_status(self, over: CallOver) -> None:
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
