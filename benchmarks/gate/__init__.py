"""How often the promotion gate is right, over candidates that were really trained, good and bad."""
