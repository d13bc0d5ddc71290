"""The file: opening, sharing, shrinking, checking and repairing it."""
