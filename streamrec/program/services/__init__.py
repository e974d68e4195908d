"""Commands that serve over HTTP, and those that look after their keys."""
