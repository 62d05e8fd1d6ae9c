"""Fault campaign: real processes are killed, disks filled and networks cut, and nothing may be lost."""
