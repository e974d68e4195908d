"""The same model on a topic, through ours and through what else one would take."""
