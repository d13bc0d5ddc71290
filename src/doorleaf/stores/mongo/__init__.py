"""MongoDB through PyMongo's asynchronous client."""

from doorleaf.stores.mongo.store import MongoStore

__all__ = ["MongoStore"]
