"""Everything that can be set: its model, where it comes from, and how it is shown."""
