"""Aggregation pipelines."""
