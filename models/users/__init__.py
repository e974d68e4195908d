"""What is known of a user: features in event time, and the state behind them."""
