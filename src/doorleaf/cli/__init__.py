"""The ``doorleaf`` command, a file for each group of its commands."""
