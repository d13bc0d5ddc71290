"""Reading: which index serves a query, and the documents that it matches."""
