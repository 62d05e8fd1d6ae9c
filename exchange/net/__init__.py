"""Addresses, TLS, callers with their roles and bounds, errors of calls, metrics ports and logs."""
