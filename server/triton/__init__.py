"""Triton as a child process: its model repository, its models and their repair."""
