"""Documents as REST resources in a tenant's workspace."""
