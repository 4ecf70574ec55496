"""The terminal app (Textual); it shows the session and decides nothing of its own."""
