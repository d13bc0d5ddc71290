"""The embedded engine: MongoDB's documents and query language over SQLite, in process."""

from doorleaf.stores.embedded.store import EmbeddedStore

__all__ = ["EmbeddedStore"]
