"""What samplers are made of: NUTS, tempered SMC and their diagnostics, over any batched log density."""
