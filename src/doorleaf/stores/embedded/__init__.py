"""The embedded engine: MongoDB's documents and query language over SQLite, in process."""
