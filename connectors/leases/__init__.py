"""Who may write? One process for each slot of what is shared, and never two at a time."""
