"""Exact inference over finite variables, by elimination."""
