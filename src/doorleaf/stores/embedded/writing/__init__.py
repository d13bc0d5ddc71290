"""Writing: transactions, the thread that carries them out, and writes that are computed beside it."""
