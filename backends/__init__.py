"""The engines: each judges a query, prepares once and conditions many times. `ppl` finds them by name."""
