"""Files of a job folder, in which control hands learning a job and reads its progress, result and verdict."""
