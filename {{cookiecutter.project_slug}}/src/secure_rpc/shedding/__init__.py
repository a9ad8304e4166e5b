"""How much the server takes on at once, whose calls are turned away first, and how slowly."""
