"""What every HTTP service stands on: routes, access, limits, problems, and a server that drains."""
