"""Integrations: what the package does inside other frameworks, each an extra of its own."""
