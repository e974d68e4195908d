"""A small shop to look at: its products, a history of visits to it, and its page."""
