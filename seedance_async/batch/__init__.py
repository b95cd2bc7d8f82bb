"""Bulk runs: many jobs into one directory."""
