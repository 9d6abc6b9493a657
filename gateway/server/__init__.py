"""The process: HTTP, webhooks, media sockets, health."""
