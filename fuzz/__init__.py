"""What chance finds: worlds by the thousand, faults that are planted, and a long day on real sockets.

python -m fuzz world [SEED …]     one world for each seed, or new ones for --seconds
    python -m fuzz mutants            plants each fault, and asks the tests that must see it
    python -m fuzz soak               ten minutes on sockets, half of them on each runtime
"""
