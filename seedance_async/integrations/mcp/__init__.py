"""The MCP server, with which an agent makes batches and spends no more than a person has allowed.

From the bottom up: ``settings`` reads what the person has set; ``workspace`` is the one folder that files are
in; ``orders`` is the durable record of plans and of what was allowed for each; ``planning`` turns jobs into a
plan with a price, and ``linting`` compares their prompts with the guide; ``running`` runs plans, and
``standing`` reports their state; ``pictures`` draws contact sheets; ``account`` lists and downloads single
tasks; ``answers`` keeps answers short, and ``commands`` writes the command that a person runs; ``desk`` has a
method for each tool. Only ``tools`` and ``server`` use the protocol's library.
"""
