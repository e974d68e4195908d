"""A real broker and registry on this machine, and processes that end with their parent."""
