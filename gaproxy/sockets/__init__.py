"""The one room that calls the kernel: readiness becomes facts, orders become system calls."""
