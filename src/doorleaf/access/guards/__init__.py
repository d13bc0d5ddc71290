"""What is refused before a store sees it: by what it would do, and by what a key is limited to."""
