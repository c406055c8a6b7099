"""One thread for each process of the tests: two files run at a time, and threads that wait for a busy core stall."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
