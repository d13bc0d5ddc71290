"""Lanes: commands sent directly on connections that PyMongo opened."""
