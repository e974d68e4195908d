"""What learns from labelled answers: data sets, preprocessing, search, online models."""
