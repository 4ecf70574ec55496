"""What the app shows at a time: opening, the main screen, and the few dialogs over it."""
