"""The gateway: takes frames over gRPC, answers with labels from Triton, captures frames and follows the plan."""
