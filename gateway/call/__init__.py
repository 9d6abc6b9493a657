"""The conversation: pure rules, no waiting and no looking. If a rule about conversation is not here, it does not exist."""
