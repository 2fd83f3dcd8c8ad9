"""Learned tokenizers of the literature, small, to compare K-means with."""
