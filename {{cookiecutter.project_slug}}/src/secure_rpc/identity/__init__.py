"""Who is calling: what certificates and tokens say, and whether to believe them."""
