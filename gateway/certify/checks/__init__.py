"""What every adapter must do, in the order in which it is tried."""

from typing import Final

from gateway.certify.checks import conversation, heard, proof, sound, wire
from gateway.certify.checks.check import Check

CHECKS: Final = (*proof.CHECKS, *wire.CHECKS, *sound.CHECKS, *heard.CHECKS, *conversation.CHECKS)
"""All checks."""

__all__ = ["CHECKS", "Check"]
