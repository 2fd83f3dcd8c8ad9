"""Priors: models that write color, shape and texture tokens."""
