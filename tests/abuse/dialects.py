"""The adapters that the abuse suite knows."""

from dialect import Dialect
from dialect_browser import BROWSER
from dialect_pcm import PCM
from dialect_twilio import TWILIO
from dialect_vonage import VONAGE

DIALECTS: dict[str, Dialect] = {dialect.adapter: dialect for dialect in (TWILIO, VONAGE, BROWSER, PCM)}
"""By the adapter's name."""
