"""The model in other libraries."""
