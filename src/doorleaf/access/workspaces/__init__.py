"""Workspaces: places of tenants, the callers who may enter them, and the predicate that nobody gets around."""
