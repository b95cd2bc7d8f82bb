"""The review page: a local server on which a person keeps, rejects and annotates the takes of a batch.

It reads results and picks and writes picks, and nothing else: it has no API key, opens no journal and sends
nothing to the API. So it cannot pay, and cannot disturb a batch that runs in the same directory at the same
time. ``seedance batch``, which has the journal, the cap and the key, acts on the picks.

``takes`` makes the page's data and ``guard`` decides who may request it, both pure; ``server`` does the I/O.
"""
