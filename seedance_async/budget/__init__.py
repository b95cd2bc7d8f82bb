"""The budget: the account's allowance of requests, thirty in any sixty seconds, and never one more."""
