"""How often, how much and how much at once a caller may ask."""
