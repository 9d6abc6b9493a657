"""The far ends of our own adapters, written from the reference with what the simulators have of it."""
