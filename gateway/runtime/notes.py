"""What can be run but is hardly meant: routes that nobody reaches, carriers that prove nothing, options without effect.

Owns the sentences. Each begins with its place and ends with what to do; a configuration with notes is a good one.
Refuses what is wrong, which is a problem and `gateway.runtime.references`'s.
"""

from collections.abc import Collection, Iterator

import msgspec

from gateway.places import place_of
from gateway.runtime.conditions import covers
from gateway.runtime.unmet import unmet
from gateway.settings import BUILT_IN_REGIONS, Secrets, Settings


def notes(settings: Settings, carriers: Collection[str] = ()) -> list[str]:
    """All sentences, in the order of the sections; ``carriers`` are the adapters whose calls a carrier brings."""
    return [
        *_circles(settings),
        *_unreached(settings),
        *_unserved(settings),
        *_half_met(settings, carriers),
        *_unproven(settings),
        *_unsafe(settings),
        *_one_address(settings),
        *_elsewhere(settings),
        *_not_adaptive(settings),
        *_sealing_nothing(settings),
        *_without_effect(settings),
    ]


def _circles(settings: Settings) -> Iterator[str]:
    """Agents that fall back on each other: each call tries them once, which may be what is wanted."""
    said: set[str] = set()
    for start in settings.agents:
        chain, name = [start], settings.agents[start].fallback
        while name in settings.agents and name not in chain:
            chain.append(name)
            name = settings.agents[name].fallback
        if name == start and start not in said:
            said.update(chain)
            shown = " → ".join((*chain, start))
            yield (
                f"agents.{chain[-1]}.fallback: agents fall back on each other in a circle ({shown}); a call tries "
                "each of them once and then ends, so name a last resort outside of it if there is one"
            )


def _unreached(settings: Settings) -> Iterator[str]:
    for index, route in enumerate(settings.routes):
        for before in settings.routes[:index]:
            if covers(before.match, route.match):
                yield (
                    f"routes[{index}]: {route.name} gets only calls that ask for it by name, because {before.name} "
                    f"stands before it and takes all of its calls; move it above {before.name}"
                )
                break


def _unserved(settings: Settings) -> Iterator[str]:
    for index, route in enumerate(settings.routes):
        for name in route.match.adapter:
            if name not in settings.adapters:
                yield (
                    f"routes[{index}].match.adapter: {name} has no section under adapters, so no call comes from it; "
                    f"add adapters.{name}, or leave it out"
                )


def _half_met(settings: Settings, carriers: Collection[str]) -> Iterator[str]:
    """Conditions that calls of some adapters do not meet, or that numbers as they are hardly do."""
    for index, route in enumerate(settings.routes):
        for found in unmet(route.match, settings, carriers):
            if not found.is_wrong:
                name, position = found.path
                yield f"routes[{index}].match.{name}[{position}]: {found.sentence}"


def _unproven(settings: Settings) -> Iterator[str]:
    """Secrets that nobody has set where the development secret does not stand in for them."""
    for name, adapter in settings.adapters.items():
        for field in msgspec.structs.fields(adapter):
            if field.type == Secrets and not any(getattr(adapter, field.name)):
                yield (
                    f"adapters.{name}.{field.name}: is empty, and server.host or server.public_url opens the gateway "
                    f"to others, so every call of {name} is refused; set it, or leave adapters.{name} out"
                )


def _unsafe(settings: Settings) -> Iterator[str]:
    carriers = [
        name
        for name, adapter in settings.adapters.items()
        if any(field.type == Secrets for field in msgspec.structs.fields(adapter))
    ]
    if carriers and settings.server.public_url.startswith("http://"):
        yield (
            f"server.public_url: begins with http://, so {' and '.join(carriers)} would be sent to a media socket at "
            "ws://, and carriers open wss:// only; write https://"
        )


def _one_address(settings: Settings) -> Iterator[str]:
    """TLS ends before us, so behind a public address over TLS there is always something whose address is everybody's."""
    if settings.server.public_url.startswith("https://") and not settings.server.trusted_proxies:
        yield (
            "server.trusted_proxies: is empty, so all who come through what stands in front of this gateway count as one "
            "address for limits.per_address; name its network, such as [10.0.0.0/8], if it writes X-Forwarded-For"
        )


def _elsewhere(settings: Settings) -> Iterator[str]:
    """Agents of a region at a host that its name does not let one expect."""
    theirs = {
        place[0]: name
        for name, region in BUILT_IN_REGIONS.items()
        for url in (region.voice_agent, region.rest)
        if (place := place_of(url))
    }
    for name, region in settings.regions.items():
        for field in ("voice_agent", "rest"):
            place = place_of(getattr(region, field))
            whose = theirs.get(place[0]) if place else None
            if place is None or whose == name:
                continue
            if whose:
                yield (
                    f"regions.{name}.{field}: {place[0]} is the provider's host of the region {whose}, so that is where "
                    f"calls of {name} go; give their agents the region {whose}, or name a host of {name}"
                )
            elif name in BUILT_IN_REGIONS:
                yield (
                    f"regions.{name}.{field}: puts {place[0]} in the place of the provider's host, so that is where calls "
                    f"of {name} go; leave it out, or define a region of your own for {place[0]}"
                )


def _not_adaptive(settings: Settings) -> Iterator[str]:
    """Silences that are set, by a profile or by hand, cost more than they seem to (Voice Agent API reference, 3.1)."""
    for name, agent in settings.agents.items():
        heard = agent.session.get("input")
        by_hand = (heard.get("turn_detection") if isinstance(heard, dict) else None) or {}
        fixed = [
            key for key in ("min_silence", "max_silence") if isinstance(by_hand, dict) and key in by_hand
        ]
        place = "turn_detection" if agent.turn_detection else "session.input.turn_detection"
        if agent.kind == "voice_agent" and (agent.turn_detection or fixed):
            yield (
                f"agents.{name}.{place}: sets silences, and that switches the provider's adaptive pacing off for the whole "
                "session, and its waiting until numbers and addresses are complete; leave it out to keep both"
            )


def _sealing_nothing(settings: Settings) -> Iterator[str]:
    if settings.audit.key and not settings.audit.path:
        yield (
            "audit.key: seals nothing, because audit.path is empty and there is no audit trail; name its file in "
            "audit.path, or leave the key out"
        )


def _without_effect(settings: Settings) -> list[str]:
    """Options that exist and do nothing yet must say so where people look."""
    found = {
        "telemetry.otlp_endpoint: traces are not exported yet": bool(settings.telemetry.otlp_endpoint),
        "telemetry.content: there are no spans yet that could hold what people say": settings.telemetry.content
        is True,
        "recording.enabled: calls are not recorded yet": settings.recording.enabled,
    }
    return [
        f"{sentence}; leave it out, or expect nothing of it" for sentence, holds in found.items() if holds
    ]
