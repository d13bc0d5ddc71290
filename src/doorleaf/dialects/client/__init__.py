"""The App Services client API."""
