"""One module per caller's dialect; pure."""
