"""What feeds what: the dataflows, their settings, and the command line."""
