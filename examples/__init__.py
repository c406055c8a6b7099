"""Examples, each a page; the tests run them all."""
