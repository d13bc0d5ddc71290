"""Apps that were exported from App Services."""
