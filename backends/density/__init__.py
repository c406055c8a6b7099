"""Explicit densities: closed form, quadrature, NUTS and tempered SMC over one compiled target."""
