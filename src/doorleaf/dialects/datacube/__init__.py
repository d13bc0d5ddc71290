"""The DataCube API: accounts that own databases, documents in them, and whole files in and out."""
