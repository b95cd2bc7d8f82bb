"""Batches: many jobs run into one directory; each job is paid once, and no paid result is lost.

From the bottom up: ``states``, ``keys``, ``ledger`` and ``names`` are pure; ``journal`` is the durable
record; ``manifest`` and ``intake`` store jobs in it; ``queue``, ``sending`` and ``run`` take them through the
API; ``saving`` and ``results`` store the results; ``runner`` is the public interface.
"""
