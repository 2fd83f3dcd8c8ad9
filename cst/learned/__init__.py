"""Small versions of published learned tokenizers, to compare with K-means."""
