"""How often drift is told where there is none, and how late where there is."""
