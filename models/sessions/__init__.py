"""What recommends from sessions: candidate methods over an index that learns click by click."""
