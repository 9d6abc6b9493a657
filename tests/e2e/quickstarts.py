"""The example clients as processes of their own, against gateways that are processes too.

One gateway has the offline agent inside, another has `talkpath agent` as its provider, a third an agent whose answers
say which prompt is in force, which the offline agent has no use for.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from command_line import Finished, agent_process, environment, gateway_process
from scripted_agent import Session, scripted_agent
from speech import speech
from together import Outcomes, run_together, until

import gateway
from gateway.audio import PCM_24K, write_wav

CLIENTS = Path(gateway.__file__).parent.parent / "examples" / "clients"
KEY = "a-gateway-key-of-these-tests"
ORIGIN = "https://www.example.com"
PROMPT = "a prompt that is nobody's business"
STORED = "agent_0f3c"
SECOND_GREETING = "This is the second desk."
AT_ONCE = 5
"""Clients that talk at the same time; each has a recogniser at work for a moment."""

MAY = "[system_prompt, greeting, tools, input, output]"
COMMON = f"""
server: {{port: 0, admin_port: 0}}
adapters: {{browser: {{origins: ["{ORIGIN}"]}}}}
access: {{keys: [{{name: backend, key: {KEY}, may: [connect, tokens]}}]}}
"""
INSIDE = f"""{COMMON}
agents:
  first: {{kind: offline, session: {{system_prompt: "{PROMPT}"}}, tools: [hang_up]}}
  second: {{kind: offline, session: {{greeting: "{SECOND_GREETING}"}}}}
routes:
  - {{name: default, agent: first, client_may: {MAY}}}
  - {{name: second, agent: second}}
"""
PROVIDED = f"""{COMMON}
regions: {{near: {{voice_agent: "%s"}}}}
agents:
  first: {{kind: voice_agent, region: near, api_key: any}}
routes:
  - {{name: default, agent: first, client_may: [agent_id, system_prompt, greeting, tools, input, output]}}
"""


async def client(script: str, *arguments: str, url: str, folder: Path, key: str = KEY) -> Finished:
    """Run one of the clients to its end; address and key come in the environment, as a deployment sets them."""
    where = {"VOICE_AGENT_URL": url.replace("http", "ws", 1), "VOICE_AGENT_KEY": key, "PYTHONUNBUFFERED": "1"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(CLIENTS / script),
        *arguments,
        cwd=folder,
        env=environment(folder, where),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    return Finished(process.returncode or 0, out.decode(), err.decode())


async def prompted(session: Session) -> None:
    """An agent that says, whenever it is asked to speak, which prompt it was given last."""
    first = session.received[0]["session"]
    prompt = first["system_prompt"]
    await _say(session, "greeting", first["greeting"])
    taken = 1
    while True:
        await until(lambda count=taken: len(session.received) > count)  # type: ignore[misc]
        message = session.received[taken]
        taken += 1
        if message["type"] == "session.update":
            prompt = message["session"].get("system_prompt", prompt)
            await session.send("session.updated", config=first | message["session"])
        elif message["type"] == "reply.create":
            await _say(session, f"r{taken}", f"My prompt is: {prompt}")


async def _say(session: Session, reply_id: str, text: str) -> None:
    await session.begin(reply_id, text.split(), 50)
    await session.sound(reply_id, bytes(4800))
    await session.end(reply_id, text)


async def talk_everywhere(folder: Path) -> Outcomes[Finished]:
    """All clients side by side."""
    said = folder / "said.wav"
    said.write_bytes(write_wav(speech("goforward", PCM_24K, silence_ms=0), PCM_24K.rate_hz))
    async with AsyncExitStack() as stack:

        async def serve(name: str, configuration: str) -> str:
            file = folder / f"{name}.yaml"
            file.write_text(configuration)
            made = await stack.enter_async_context(gateway_process(folder, "--config", str(file)))
            return made.url

        provider = await stack.enter_async_context(agent_process(folder, "--port", "0", "--key", "any"))
        obedient = await stack.enter_async_context(scripted_agent(prompted))
        inside = partial(client, url=await serve("inside", INSIDE), folder=folder)
        provided = partial(client, url=await serve("provided", PROVIDED % provider.url), folder=folder)
        obeying = partial(client, url=await serve("obeying", PROVIDED % obedient), folder=folder)
        scenarios: dict[str, Callable[[], Awaitable[Finished]]] = {
            "terminal": partial(inside, "terminal.py", str(said), "--heard", "heard.wav"),
            "terminal, provider": partial(provided, "terminal.py", str(said)),
            "terminal, wrong key": partial(inside, "terminal.py", str(said), key="wrong"),
            "page": partial(inside, "browser_token.py"),
            "page from elsewhere": partial(
                inside, "browser_token.py", "--origin", "https://elsewhere.example"
            ),
            "held, provider": partial(provided, "tools_held.py", str(said)),
            "at once": partial(inside, "tools_at_once.py", str(said)),
            "second": partial(inside, "stored_agent.py", "second"),
            "stored": partial(provided, "stored_agent.py", STORED),
            "stored, not allowed": partial(inside, "stored_agent.py", STORED),
            "resume": partial(inside, "resume.py"),
            "resume, provider": partial(provided, "resume.py", "--resume-token"),
            "update": partial(obeying, "update.py"),
        }
        return await run_together(scenarios, at_once=AT_ONCE)
