"""Why an address cannot be listened on, in one sentence with the remedy that fits.

Owns the words for what an operating system says about addresses and ports. Refuses to try.
"""

import errno
import socket


def why_not(error: OSError, host: str, port: int, host_option: str, port_option: str) -> str:
    """The sentence about an error; the options are how a person sets the address and the port."""
    if error.errno == errno.EADDRINUSE:
        return (
            f"{host} port {port} is in use; stop the other program, or choose another port with {port_option}"
        )
    if error.errno == errno.EACCES:
        return f"this user may not listen on {host} port {port}; choose a port above 1023 with {port_option}"
    # from Python 3.12 on asyncio gives no number when none of a name's addresses is one of this machine
    if error.errno in {errno.EADDRNOTAVAIL, None} or isinstance(error, socket.gaierror):
        return (
            f"{host} is no address of this machine; choose one that is with {host_option}, such as 127.0.0.1"
        )
    return f"cannot listen on {host} port {port}: {error.strerror or error}"
