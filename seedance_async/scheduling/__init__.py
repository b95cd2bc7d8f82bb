"""Decisions about when to send which request: forecast and schedule are pure, the dispatcher acts."""
