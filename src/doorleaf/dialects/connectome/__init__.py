"""The Connectome dialect: collections by credentials in the URL."""
