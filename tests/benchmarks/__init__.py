"""Scripts that print tables of figures; they are no tests."""
