"""The whole story on one machine, told as an operator would live it: by processes, gRPC and the storage root."""
