"""Neural estimators: conditional flows trained on simulations."""
