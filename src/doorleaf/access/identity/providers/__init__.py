"""The ways to authenticate, one in each file; :mod:`~doorleaf.access.identity.providers.table` lists them."""
