"""Filters, ``$jsonSchema``, and why a validator refuses a document."""
