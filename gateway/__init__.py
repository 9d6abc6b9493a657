"""Talkpath, a self-hosted voice gateway."""
