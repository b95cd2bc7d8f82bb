"""Integrations: this package inside other programs' frameworks, each in a room of its own."""
