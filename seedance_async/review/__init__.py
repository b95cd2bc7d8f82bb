"""The review page: a server at loopback on which a person keeps, rejects and notes the takes of a batch.

It reads results and picks, writes picks, and does nothing else: it has no API key, opens no journal and sends
nothing, so it can neither pay nor disturb a batch that runs in the same directory at the same time. What
follows from picks is done by ``seedance batch``, which has the journal, the cap and the key.

``takes`` says what the page shows and ``guard`` who may ask for it, both pure; ``server`` acts.
"""
