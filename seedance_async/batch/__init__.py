"""Bulk runs: many jobs into one directory, each paid once and none lost.

From the bottom up: ``states``, ``keys``, ``ledger`` and ``names`` decide and touch nothing; ``journal`` is
the durable record; ``manifest`` and ``intake`` bring jobs into it; ``feed`` and ``run`` take them through the
API; ``saving`` and ``results`` put down what came of them; ``runner`` is the door.
"""
