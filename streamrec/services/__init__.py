"""What stands in front of the dataflows: stores, servers, and what they share."""
