"""One thread for each process of the tests: two files run at a time, and threads that wait for a busy core stall.

Shells start what runs in the background with Ctrl-C ignored, and children inherit that: here it interrupts, as tests of interruptions expect.
"""

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
