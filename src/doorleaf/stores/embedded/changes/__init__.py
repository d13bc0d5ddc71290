"""The log of changes and the streams that read it."""
