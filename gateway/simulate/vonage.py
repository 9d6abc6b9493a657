"""A simulated Vonage call: answer webhook, call document, media socket, events, what follows, and the end.

Owns the flow of one call as Vonage runs it (reference: carriers section 3) and its faults to order. Refuses to know
the gateway's code: everything here is written from the reference, because it judges the gateway.
"""

import asyncio
import uuid
from typing import Any, Literal

from gateway.audio import PCM_16K, AudioFormat
from gateway.simulate.carrier_call import CallOver, CarrierCall
from gateway.simulate.clock import Clock
from gateway.simulate.media_socket import SocketError
from gateway.simulate.ncco import Action, Connect, NccoError, Sip, Socket, Talk, read_ncco
from gateway.simulate.phone import Observer
from gateway.simulate.result import CallResult
from gateway.simulate.script import CallerFaults, CallScript
from gateway.simulate.vonage_http import (
    ANSWER_PATH,
    ANSWER_WITHIN_S,
    EVENT_PATH,
    VonageIdentity,
    VonageRequests,
)
from gateway.simulate.vonage_rest import VonageRest
from gateway.simulate.vonage_stream import VonageStream
from gateway.simulate.webhook import Addresses, WebhookError, open_session, resolve

DEFAULT_CALLER = "15550100001"
DEFAULT_CALLEE = "15550100002"
MAX_DOCUMENTS = 50
SPEECH_S_PER_WORD = 0.3


class VonageCaller(CarrierCall):
    """One call over a simulated Vonage; `run` once."""

    def __init__(
        self,
        url: str,
        *,
        secret: str,
        script: CallScript | None = None,
        caller: str = DEFAULT_CALLER,
        callee: str = DEFAULT_CALLEE,
        application_id: str = "",
        api_key: str = "",
        call_uuid: str | None = None,
        region_url: str = "",
        public_url: str | None = None,
        answer_method: Literal["POST", "GET"] = "POST",
        extra_fields: dict[str, str] | None = None,
        observer: Observer | None = None,
        faults: CallerFaults | None = None,
        rest: VonageRest | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(PCM_16K, script=script, observer=observer, faults=faults, clock=clock)
        self.identity = VonageIdentity(
            call_uuid=call_uuid or str(uuid.uuid4()),
            conversation_uuid=f"CON-{uuid.uuid4()}",
            caller=caller.removeprefix("+"),
            callee=callee.removeprefix("+"),
            api_key=api_key or "a1b2c3d4",
            application_id=application_id or str(uuid.uuid4()),
            region_url=region_url,
            extra_fields=extra_fields or {},
        )
        self._addresses = Addresses(url, public_url, ANSWER_PATH)
        self._secret = secret
        self._answer_method = answer_method
        self._rest = rest

    async def run(self) -> CallResult:
        """Make the call; gives what came of it, also when it was refused or failed."""
        if self._rest is not None:
            self._rest.register(self)
        try:
            async with open_session(ANSWER_WITHIN_S) as session:
                self._requests = VonageRequests(session, self._addresses, self.identity, self._secret)
                over = await self._call()
                seconds = str(round(self.phone.at_s(self._clock.now())))
                await self._report_phone(
                    "failed" if over.reason == "refused" else "completed", duration=seconds
                )
        finally:
            if self._rest is not None:
                self._rest.forget(self)
        self.phone.result.refused_status = self.phone.result.refused_status or over.status
        return self.phone.finish(over.reason, self._clock.now(), over.failure)

    async def _call(self) -> CallOver:
        await self._report_phone("ringing")
        try:
            document = await self._requests.ask(self._addresses.first, self._answer_method)
        except WebhookError as failed:
            return CallOver("refused" if failed.status else "failed", str(failed), failed.status)
        try:
            line = _line_of(read_ncco(document))
        except NccoError:
            line = PCM_16K  # what is wrong is said when the document is carried out
        self._pick_up(line, f"{self.identity.caller} calls {self.identity.callee}")
        async with asyncio.TaskGroup() as group:
            pacer = group.create_task(self._pace())
            answered = group.create_task(self._report_phone("answered"))
            try:
                return await self._follow(document)
            finally:
                pacer.cancel()
                answered.cancel()

    async def _follow(self, document: str) -> CallOver:
        """Carry out documents until the call is over."""
        try:
            for _ in range(MAX_DOCUMENTS):
                document = await self._carry_out(document)
        except CallOver as over:
            return over
        except NccoError as error:
            self.phone.warn(0, str(error), self._clock.now())
            return CallOver("failed", f"the call document cannot be carried out: {error}")
        except WebhookError as failed:
            self.phone.warn(0, str(failed), self._clock.now())
            return CallOver("failed", str(failed), failed.status)
        return CallOver("failed", f"the call was sent on to {MAX_DOCUMENTS} documents without an end")

    async def _carry_out(self, document: str) -> str:
        """Carry out one document; gives the one that follows it, or raises `CallOver`."""
        actions = read_ncco(document)
        self.phone.result.documents.append(document)
        names = ", ".join(type(action).__name__.lower() for action in actions) or "nothing"
        self.phone.note("document", f"the document says: {names}", self._clock.now())
        for place, action in enumerate(actions):
            if (
                isinstance(action, Connect)
                and isinstance(action.endpoint[0], Socket)
                and actions[place + 1 :]
            ):
                what = "an action stands behind the media socket and runs as soon as that is up"
                self.phone.warn(0, what, self._clock.now())
            following = await self._carry_out_action(action)
            if following:
                return following
        raise CallOver("agent_hung_up")

    async def _carry_out_action(self, action: Action) -> str:
        match action:
            case Talk(text):
                self.phone.result.carrier_said.append(text)
                await self._stay(len(text.split()) * SPEECH_S_PER_WORD)
                return self._divert()
            case Connect(endpoint=[Socket() as socket]):
                return await self._connect(action, socket)
            case Connect(endpoint=[Sip(uri)]):
                self.phone.result.dialled.append(uri)
            case Connect(endpoint=[other]):
                self.phone.result.dialled.append(getattr(other, "number", ""))
        raise CallOver("transferred")

    async def _connect(self, action: Connect, socket: Socket) -> str:
        """Run one media socket to its end; gives the document that follows it, if any does."""
        if AudioFormat("pcm16", socket.rate_hz) != self.phone.format:
            raise NccoError("the rate of the media socket changes in the middle of the call")
        leg_uuid = str(uuid.uuid4())
        stream = VonageStream(self.phone, self._clock, self._faults, socket)
        try:
            await stream.open(self._addresses.to_dial(socket.uri), self._authorization(socket))
        except SocketError as refused:
            self.phone.result.refused_status = refused.status
            self.phone.warn(0, str(refused), self._clock.now())
            status = "failed" if refused.status else "unanswered"
            return await self._ask_after(action, socket, leg_uuid, status) or self._divert()
        with self._streaming(stream):
            async with asyncio.TaskGroup() as group:
                group.create_task(self._report_socket(action, socket, leg_uuid, "answered"))
                await self._until_closed(stream)
        if self._interrupted.is_set():
            # we have ended it, so it did not break
            await self._report_socket(action, socket, leg_uuid, "completed")
            return self._divert()
        if self._killed and not self._faults.ask_after_a_kill:
            raise CallOver("socket_killed")
        return await self._ask_after(action, socket, leg_uuid, "disconnected") or self._divert()

    def _authorization(self, socket: Socket) -> str:
        given = socket.authorization
        if given is None:
            return ""
        return given.value if given.type == "custom" else self._requests.proof()

    def _divert(self) -> str:
        """The document that interrupts the one in force, if one does; raises `CallOver` when the call ends instead."""
        following = self._diversion()
        return following[0] if following else ""

    async def _ask_after(self, action: Connect, socket: Socket, leg_uuid: str, status: str) -> str:
        """Report the end of a media socket; its answer may be another document where the action says so."""
        answer = await self._report_socket(action, socket, leg_uuid, status)
        return answer if action.event_type == "synchronous" else ""

    async def _report_socket(self, action: Connect, socket: Socket, leg_uuid: str, status: str) -> str:
        url = action.event_url[0] if action.event_url else resolve(self._addresses.first, EVENT_PATH)
        event = self.identity.socket_event(status, leg_uuid, socket.uri, socket.headers)
        return await self._report(url, event)

    async def _report_phone(self, status: str, **more: str) -> None:
        url = resolve(self._addresses.first, EVENT_PATH)
        await self._report(url, self.identity.phone_event(status, **more))

    async def _report(self, url: str, event: dict[str, Any]) -> str:
        try:
            return await self._requests.report(url, event)
        except WebhookError as failed:
            self.phone.warn(0, str(failed), self._clock.now())
            return ""


def _line_of(actions: list[Action]) -> AudioFormat:
    """The format of the first media socket; a call without one is a telephone's all the same."""
    for action in actions:
        if isinstance(action, Connect) and isinstance(socket := action.endpoint[0], Socket):
            return AudioFormat("pcm16", socket.rate_hz)
    return PCM_16K
