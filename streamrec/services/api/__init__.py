"""The API: recommendations, and what is known of items and users, over HTTP."""
