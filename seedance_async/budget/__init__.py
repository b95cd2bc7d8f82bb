"""The budget: the account's allowance of requests, by default 30 in any 60 s, which is never exceeded."""
