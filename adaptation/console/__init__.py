"""Operators' web page: frames served, rounds, verdicts and label requests, live in a browser."""
