"""Databases that accounts own."""
