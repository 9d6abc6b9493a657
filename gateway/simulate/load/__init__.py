"""The load benchmark: many calls at once through a system under test, both ends on one clock in one process.

Owns the generator (`generator`), the systems it is compared with (`systems`) and the figures (`figures`). Refuses
the gateway's own code, as every simulator does: what it measures must not cancel itself out.
"""
