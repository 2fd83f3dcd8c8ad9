"""Models that write tokens: p(color, shape, texture)."""
