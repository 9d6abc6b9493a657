"""A certificate authority for the length of one run, so that systems can prove their agent over TLS.

Owns the throw-away keys. Refuses to outlive the run: nothing of it is written but the public certificate.
"""

import ssl
from pathlib import Path

import trustme


def agent_certificate(ca_file: Path) -> ssl.SSLContext:
    """Certify the agent's end for this machine; who shall believe it reads ``ca_file``, which is written."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context
