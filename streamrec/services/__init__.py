"""What people and programs ask over the network: clicks in, recommendations out, how it goes."""
