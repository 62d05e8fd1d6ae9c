"""Error rates of the promotion gate over candidates that were really trained, good and bad."""
