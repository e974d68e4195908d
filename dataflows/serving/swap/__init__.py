"""Models that follow the topic `models`: who answers what, and how one becomes another."""
