"""Who is calling: credentials, keys, users, accounts, sessions and tokens."""
