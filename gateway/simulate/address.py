"""The address of a gateway as a person types it, and of the socket that is meant by it. Refuses to look names up or to dial."""

from collections.abc import Mapping
from urllib.parse import SplitResult, urlencode, urlsplit, urlunsplit

EXAMPLE = "http://127.0.0.1:8080"
_SCHEMES = ("http", "https", "ws", "wss")


def gateway_address(url: str) -> SplitResult:
    """Read an address; ``http`` where it names no scheme.

    Raises:
        ValueError: saying which part of it cannot be one, in a sentence.
    """
    remedy = f"give one like {EXAMPLE}"
    try:
        given = urlsplit(url if "://" in url else f"http://{url}")
        host = given.hostname or ""
        # what a resolver would refuse as well: empty or too long parts of a name
        host.encode("idna")
    except ValueError:
        raise ValueError(f"{url!r} is no address of a gateway; {remedy}") from None
    if given.scheme not in _SCHEMES:
        raise ValueError(f"{url!r} is no address of a gateway, as it is not http or https; {remedy}")
    if not host or any(not char.isprintable() or char.isspace() for char in host):
        raise ValueError(f"{url!r} is no address of a gateway, as it names no host; {remedy}")
    try:
        port_is_possible = given.port is None or given.port > 0
    except ValueError:
        port_is_possible = False
    if not port_is_possible:
        raise ValueError(f"{url!r} is no address of a gateway, as its port is not from 1 to 65535; {remedy}")
    return given


def socket_address(url: str, path: str, query: Mapping[str, str] | None = None) -> str:
    """The address of the socket that is meant by the address of a gateway: at ``path``, unless it names another one.

    Raises:
        ValueError: saying which part of it cannot be one.
    """
    given = gateway_address(url)
    scheme = {"http": "ws", "https": "wss"}.get(given.scheme, given.scheme)
    meant = path if given.path in {"", "/"} else given.path
    joined = "&".join(filter(None, (given.query, urlencode(query or {}))))
    return urlunsplit((scheme, given.netloc, meant, joined, ""))
