"""The MCP server: an agent makes batches, and spends no more than a person has allowed.

From the bottom up: ``settings`` reads what the person has set; ``workspace`` is the one folder that files are
in; ``orders`` is the durable record of plans and of what was allowed for each; ``planning`` turns jobs into a
plan with a price; ``running`` takes plans through the API; ``pictures`` draws what is looked at; ``answers``
keeps what is said short; ``desk`` is all of that behind one door. Only ``tools`` and ``server`` know the
protocol's library.
"""
