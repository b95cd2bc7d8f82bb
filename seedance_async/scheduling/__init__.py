"""Scheduling: decisions which request to send when. Forecast and schedule are pure; the dispatcher acts."""
