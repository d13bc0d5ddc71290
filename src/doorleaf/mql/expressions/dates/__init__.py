"""Dates in expressions."""
